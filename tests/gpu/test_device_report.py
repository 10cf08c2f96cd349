"""What the report makes of the devices' records: numbers that a reader can check by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.records import Device, DeviceWindow, Probe
from reports import devices, load, table
from reports.page import environment
from tests.reports.build import Launch, alone, trial_result, window, write_run

PEAK = 989.4e12
NAME = "NVIDIA H100 80GB HBM3"


def written(folder: Path, uuids: tuple[str, str], window_ms: float = 2000.0, **known: Any) -> load.LoadedRun:
    """One launch of two ranks: a warm-up window and two that count, each of 100 samples, 400 TFLOP (300 of them useful)
    and 500 J a rank; three times as many joules in the warm-up."""
    counts = {"flops_executed": int(400e12), "flops_useful": int(300e12), **known}
    ranks = [[window(index, window_ms, 100, warmup=index == 0, **counts) for index in range(3)] for _ in range(2)]
    result, launches = trial_result(
        "torch_ddp", 2, [Launch(ranks, facts=[alone(devices=[f"{NAME} cuda:{each}"]) for each in (0, 1)])],
        trial={"compute": "bfloat16", "preset": "tuned"},
    )  # fmt: skip
    shared = 2 if uuids[0] == uuids[1] else 1
    repeat = msgspec.structs.replace(
        result.repeats[0],
        devices=[
            Device(
                rank=rank, name=NAME, compute="bfloat16", uuid=uuid, ranks=shared, peak_flop_per_s=PEAK,
                peak_source="a datasheet", driver="570.1", power_limit_mw=700_000, persistence=False,
            )
            for rank, uuid in enumerate(uuids)
        ],
        device_windows=[
            DeviceWindow(
                rank=rank, index=index, exchange=True, uuid=uuid, step_ns=[400_000_000] * 5,
                phase_ns={"forward": [120_000_000] * 5, "backward": [250_000_000] * 5, "update": [30_000_000] * 5},
                energy_mj=1_500_000 if index == 0 else 500_000, power_mw=650_000 + index, temperature_c=60 + index,
                throttled_by=["power cap"] if (rank, index) == (1, 2) else [], utilisation=0.97,
            )
            for rank, uuid in enumerate(uuids)
            for index in range(3)
        ],
        probes=[Probe(rank=rank, compute="bfloat16", size=8192, flop_per_s=800e12, bytes_per_s=3e12) for rank in (0, 1)],
    )  # fmt: skip
    return load.load(write_run(folder, [(msgspec.structs.replace(result, repeats=[repeat]), launches)]))


def line(run: load.LoadedRun) -> dict[str, Any]:
    (found,) = devices.lines(run, table.rows(run))
    return found


def test_mfu_is_the_operations_of_all_ranks_over_the_time_of_the_job_and_the_peak_of_its_devices(
    tmp_path: Path,
) -> None:
    """2 ranks x 2 windows x 400 TFLOP in 2 x 2 s: 400 TFLOP/s of 2 x 989.4."""
    found = line(written(tmp_path, ("GPU-a", "GPU-b")))
    assert found["flop_per_second"] == pytest.approx(400e12)
    assert found["mfu"] == pytest.approx(400 / (2 * 989.4))
    assert found["useful_mfu"] == pytest.approx(300 / (2 * 989.4))
    assert (found["devices"], found["ranks_per_device"], found["device"]) == (2, 1, NAME)
    assert found["share_of_probed"] == pytest.approx(400 / 1600)
    assert found["mfu_low"] is None  # one launch has no interval


def test_energy_is_that_of_the_windows_that_count_and_of_each_device_once(tmp_path: Path) -> None:
    """2 devices x 2 windows x 500 J over 400 samples; with one device under both ranks half as much."""
    assert line(written(tmp_path / "own", ("GPU-a", "GPU-b")))["joule_per_sample"] == pytest.approx(5.0)
    shared = line(written(tmp_path / "shared", ("GPU-a", "GPU-a")))
    assert shared["joule_per_sample"] == pytest.approx(2.5)
    assert (shared["devices"], shared["mfu"]) == (1, pytest.approx(400 / 989.4))
    assert shared["note"] == "shared: 2 ranks on one device, as the study asks"


def test_energy_of_windows_that_are_short_for_the_counter_is_unknown(tmp_path: Path) -> None:
    assert line(written(tmp_path, ("GPU-a", "GPU-b"), window_ms=900.0))["joule_per_sample"] is None


def test_clocks_heat_and_brakes_are_told_of_the_windows_that_count(tmp_path: Path) -> None:
    found = line(written(tmp_path, ("GPU-a", "GPU-b")))
    assert (found["temperature_c"], found["throttled_by"], found["throttled_share"]) == (62, "power cap", 0.25)
    assert (found["forward_ms"], found["backward_ms"], found["update_ms"]) == (120.0, 250.0, 30.0)
    assert (found["device_step_ms"], found["utilisation"], found["sm_clock_mhz"]) == (400.0, 0.97, None)


def test_a_run_from_before_operations_were_counted_has_none(tmp_path: Path) -> None:
    found = line(written(tmp_path, ("GPU-a", "GPU-b"), flops_executed=None, flops_useful=None))
    assert (found["mfu"], found["flop_per_second"], found["share_of_probed"]) == (None, None, None)


def test_the_section_names_the_peak_with_its_source_and_the_devices_context(tmp_path: Path) -> None:
    run = written(tmp_path, ("GPU-a", "GPU-b"))
    view = devices.view(run, table.rows(run))
    assert view is not None
    assert view.sentences == (
        f"{NAME}, driver 570.1, power limit 700 W, persistence off.",
        f"Peak of {NAME} in bfloat16: 989.4 TFLOP/s dense (a datasheet).",
    )
    page = environment().get_template("devices.html.jinja").render(devices=view, headings={})
    assert '<data value="0.202142712755" data-column="mfu">' in page
    assert 'data-path="devices"' in page


def test_a_run_on_cpus_has_no_such_section(tmp_path: Path) -> None:
    ranks = [[window(index, 100.0, 10, warmup=index == 0) for index in range(3)]]
    run = load.load(write_run(tmp_path, [trial_result("torch_bare", 1, [Launch(ranks, facts=[alone()])])]))
    assert devices.view(run, table.rows(run)) is None
