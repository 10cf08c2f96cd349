"""What a rank's GPUs are and did, from a management library that answers as recorded."""

from __future__ import annotations

from typing import Any

import pytest

from bench.collectors import nvml
from bench.collectors.accelerators import Watch
from bench.devices_peaks import PEAKS, peaks
from bench.protocols import Accelerator, Marks
from tests.gpu.management import GEFORCE, H100, MIG, Management


def library(*devices: dict[str, Any], **environ: str) -> nvml.Library:
    return nvml.Library(Management(*devices), environ)


def watch(accelerator: Accelerator, found: nvml.Library | None, compute: str = "bfloat16") -> Watch:
    return Watch(3, [accelerator], compute, lambda: (found, None))


ON_H100 = Accelerator(0, "NVIDIA H100 80GB HBM3", "GPU-8f6d1c2a")


def test_a_device_is_told_with_its_context_and_the_peak_of_the_trials_own_precision():
    (device,) = watch(ON_H100, library(H100)).devices()
    assert (device.rank, device.name, device.uuid, device.part, device.ranks) == (
        3, "NVIDIA H100 80GB HBM3", "GPU-8f6d1c2a", False, 1,
    )  # fmt: skip
    assert (device.driver, device.cuda, device.persistence, device.links) == ("570.124.06", "12.8", True, "18 NVLinks")
    assert (device.memory_bytes, device.power_limit_mw) == (85_520_809_984, 700_000)
    assert (device.max_sm_clock_mhz, device.max_memory_clock_mhz) == (1980, 2619)
    assert (device.peak_flop_per_s, device.peak_bytes_per_s) == (989.4e12, 3.35e12)
    assert "H100" in (device.peak_source or "")
    of_float32, of_tf32 = (watch(ON_H100, library(H100), each).devices()[0] for each in ("float32", "tf32"))
    assert (of_float32.peak_flop_per_s, of_tf32.peak_flop_per_s) == (66.9e12, 494.7e12)


def test_a_window_has_what_was_spent_between_the_two_readings_and_every_brake_that_either_saw():
    own = watch(ON_H100, library(H100))
    own.devices()
    before, after = own.read(), own.read()
    (window,) = own.windows(
        7, True, (before, after), [Marks((10_000_000, 11_000_000), 9_000_000_000, {"forward": (3, 4)})]
    )
    assert window.phase_ns == {"forward": [3, 4]}
    assert (window.rank, window.index, window.exchange, window.uuid) == (3, 7, True, "GPU-8f6d1c2a")
    assert window.energy_mj == 650_000
    assert window.throttled_by == ["power cap", "temperature, by software"]  # "idle" is no brake
    assert (window.power_mw, window.sm_clock_mhz, window.memory_clock_mhz) == (648_000, 1755, 2619)
    assert (window.temperature_c, window.utilisation, window.memory_used_bytes) == (61, 0.98, 12_000_000_000)
    assert (window.step_ns, window.allocated_bytes) == ([10_000_000, 11_000_000], 9_000_000_000)


def test_what_a_device_does_not_know_is_unknown_and_never_zero():
    own = watch(Accelerator(0, "NVIDIA GeForce RTX 4090", "GPU-4090"), library(GEFORCE))
    (device,) = own.devices()
    (window,) = own.windows(0, True, (own.read(), own.read()), [])
    assert (device.memory_bytes, device.persistence, device.links, device.power_limit_mw) == (None,) * 4
    assert (window.energy_mj, window.utilisation, window.throttled_by, window.memory_used_bytes) == (None,) * 4
    assert window.power_mw == 648_000
    assert device.peak_flop_per_s == 165.2e12


def test_a_mig_instance_has_no_peak_of_its_own():
    (device,) = watch(Accelerator(0, "NVIDIA H100 80GB HBM3", "MIG-1c2d"), library(H100, MIG)).devices()
    assert (device.part, device.peak_flop_per_s, device.peak_source) == (True, None, None)
    assert device.memory_bytes == 10_000_000_000


def test_without_the_library_a_device_is_still_named_and_nothing_is_invented():
    own = watch(ON_H100, None)
    (device,) = own.devices()
    (window,) = own.windows(0, True, (own.read(), own.read()), [Marks((5,), None)])
    assert (device.name, device.driver, device.peak_flop_per_s) == ("NVIDIA H100 80GB HBM3", None, 989.4e12)
    assert (window.step_ns, window.energy_mj, window.throttled_by) == ([5], None, None)


def test_without_a_gpu_nobody_is_asked_and_nothing_is_written():
    own = Watch(0, [], "float32", connect=lambda: pytest.fail("the library was asked"))
    assert (own.devices(), own.read(), own.windows(0, True, ([], []), [])) == ([], [], [])


@pytest.mark.parametrize("name", ["NVIDIA H100", "NVIDIA H200 MIG 1g.18gb", "NVIDIA A100-SXM4-80GB ", "Tesla T4"])
def test_a_device_that_is_not_in_the_table_has_no_peak_however_like_another_it_sounds(name: str) -> None:
    assert peaks(name) is None


def test_the_table_has_dense_peaks_of_every_device_that_is_promised():
    half = {name: found.half / 1e12 for name, found in PEAKS.items()}
    assert half["NVIDIA H200"] == half["NVIDIA H100 80GB HBM3"] == 989.4
    assert (half["NVIDIA H100 PCIe"], half["NVIDIA L40S"], half["NVIDIA B200"]) == (756, 362.05, 2250)
    assert {half[name] for name in half if "A100" in name} == {312}
    assert half["NVIDIA GeForce RTX 4090"] == 165.2
    for name, found in PEAKS.items():  # tensor cores halve with each step of precision, and every value has a source
        assert found.half == pytest.approx(2 * found.tf32, rel=0.03), name
        assert found.tf32 >= found.float32
        assert found.source


@pytest.mark.parametrize(
    ("environ", "ordinal", "uuid"),
    [
        ({}, 1, "GPU-b"),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, 0, "GPU-b"),
        ({"CUDA_VISIBLE_DEVICES": "GPU-b"}, 0, "GPU-b"),
        ({"CUDA_VISIBLE_DEVICES": "1,-1,0"}, 1, None),  # CUDA stops reading there
        ({"CUDA_VISIBLE_DEVICES": ""}, 0, None),
    ],
)
def test_a_device_without_uuid_is_found_by_what_cuda_visible_devices_calls_it(
    environ: dict[str, str], ordinal: int, uuid: str | None
) -> None:
    found = nvml.Library(Management({"UUID": "GPU-a", "Name": "X"}, {"UUID": "GPU-b", "Name": "X"}), environ)
    handle = found.handle(Accelerator(ordinal, "X"))
    assert (handle["UUID"] if handle else None) == uuid


def test_among_unlike_devices_a_number_is_believed_only_in_the_order_of_the_bus():
    """CUDA counts the fastest first, the management library by the bus."""
    devices = ({"UUID": "GPU-a", "Name": "X"}, {"UUID": "GPU-b", "Name": "Y"})
    assert nvml.Library(Management(*devices), {}).handle(Accelerator(0, "X")) is None
    ordered = nvml.Library(Management(*devices), {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
    assert ordered.handle(Accelerator(0, "X"))["UUID"] == "GPU-a"
