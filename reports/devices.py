"""How much of its devices a trial used: operations per second against peaks, energy, clocks, memory. One line a trial.

MFU: operations of the matrix products that the model asks for (bench.workload.flops), padded places included, per
second of the whole job, over the datasheet's dense peak of all its devices in the precision of the products. The useful
part leaves out padding. Each is estimated over launches, as the speed is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

from bench import stats
from bench.records import Device, DeviceWindow, Repeat, TrialResult
from bench.stats import Estimate
from reports import measure
from reports.columns import Cell, plain
from reports.load import LoadedRun
from reports.table import Row
from reports.text import DASH, counted, number, one_line, percent, size
from reports.windows import LaunchWindows

# The driver counts energy every 20 to 100 ms: in shorter windows that would be more than a tenth of the count.
ENERGY_WINDOW_NS = 1_000_000_000


class Shown(NamedTuple):
    """A column of the table: its heading, how a value reads there, and whether it stands to the right."""

    name: str
    head: str
    read: Callable[[Any], str]
    number: bool = True


def _tera(value: float | None) -> str:
    return number(None if value is None else value / 1e12, 3)


def _whole(value: float | None) -> str:
    return DASH if value is None else f"{value:,.0f}"


def _words(value: str | None) -> str:
    return DASH if value is None else one_line(value, 200)


COLUMNS = (
    Shown("label", "trial", _words, number=False),
    Shown("device", "device", _words, number=False),
    Shown("devices", "devices", _whole),
    Shown("flop_per_second", "TFLOP/s", _tera),
    Shown("useful_flop_per_second", "useful TFLOP/s", _tera),
    Shown("mfu", "MFU", percent),
    Shown("mfu_low", "MFU, low", percent),
    Shown("mfu_high", "MFU, high", percent),
    Shown("useful_mfu", "useful MFU", percent),
    Shown("probed_flop_per_second", "measured peak, TFLOP/s", _tera),
    Shown("share_of_probed", "share of the measured peak", percent),
    Shown("probed_bytes_per_second", "measured copy, per s", size),
    Shown("joule_per_sample", "J per sample", number),
    Shown("power_w", "W per device", _whole),
    Shown("sm_clock_mhz", "SM clock, MHz", _whole),
    Shown("temperature_c", "highest °C", _whole),
    Shown("throttled_by", "held back by", _words, number=False),
    Shown("utilisation", "busy", percent),
    Shown("memory_used_bytes", "most memory used", size),
    Shown("device_step_ms", "step ms, the device's clock", number),
    Shown("forward_ms", "forward ms", number),
    Shown("backward_ms", "backward ms", number),
    Shown("update_ms", "update ms", number),
    Shown("note", "note", _words, number=False),
)


@dataclass(frozen=True, slots=True)
class View:
    """The section: what stands above the table; its columns, of which each has a value somewhere; per trial the place
    in the JSON list, the line there, and how it reads, by column."""

    sentences: tuple[str, ...]
    columns: tuple[Shown, ...]
    lines: tuple[tuple[int, Mapping[str, Cell], Mapping[str, str]], ...]


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch of a trial: its repeat, and the windows that count."""

    repeat: Repeat
    windows: LaunchWindows

    @property
    def seconds(self) -> float:
        return float(measure.pace(self.windows).duration_ns.sum()) / 1e9

    def total(self, name: str) -> int | None:
        """Of all ranks and windows; None where it was not recorded."""
        try:
            found = self.windows.optional(name)
        except KeyError:  # written before it was counted
            return None
        return None if found is None else int(found.sum())

    @property
    def device_windows(self) -> list[DeviceWindow]:
        """Of the windows that count."""
        counts = set(self.windows.index.tolist())
        return [each for each in self.repeat.device_windows if each.exchange and each.index in counts]


def view(run: LoadedRun, rows: Sequence[Row]) -> View | None:
    """None where no trial ran on a GPU, nor tried how fast its device is alone."""
    found = lines(run, rows)
    if not any(line["device"] not in (None, "cpu") or line["probed_flop_per_second"] is not None for line in found):
        return None
    kept = tuple(column for column in COLUMNS if any(line[column.name] is not None for line in found))
    read = tuple(
        (at, line, {column.name: column.read(line[column.name]) for column in kept}) for at, line in enumerate(found)
    )
    return View(_sentences(run), kept, read)


def lines(run: LoadedRun, rows: Sequence[Row]) -> list[dict[str, Cell]]:
    """One per trial that shows a speed, in the order of the rows; None where it is not known."""
    by_id = {result.trial_id: result for result in run.result.trials}
    found = [_line(row, by_id[row.trial_id], run) for row in rows if row.measured and row.framework != "none"]
    return [{name: plain(value) for name, value in line.items()} for line in found]


def _line(row: Row, result: TrialResult, run: LoadedRun) -> dict[str, Cell]:
    counted_windows = measure.counted(result, run.windows)
    launches = [Launch(*pair) for pair in zip(result.repeats, counted_windows, strict=True)]
    devices = _distinct(result.repeats[-1])
    mfu = _over(launches, lambda each: _ratio(_rate(each, "flops_executed"), _peak(each)))
    return {
        "trial_id": row.trial_id,
        "label": row.label,
        "compute": row.trial.compute,
        "preset": row.trial.preset,
        "device": ", ".join(sorted({device.name for device in devices})) or _of_facts(result),
        "devices": len(devices) or None,
        "ranks_per_device": max((device.ranks for device in devices), default=None),
        "flop_per_second": _point(_over(launches, lambda each: _rate(each, "flops_executed"))),
        "useful_flop_per_second": _point(_over(launches, lambda each: _rate(each, "flops_useful"))),
        "peak_flop_per_second": _peak(launches[-1]),
        "peak_source": next((device.peak_source for device in devices), None),
        "mfu": _point(mfu),
        "mfu_low": mfu.low if mfu else None,
        "mfu_high": mfu.high if mfu else None,
        "useful_mfu": _point(_over(launches, lambda each: _ratio(_rate(each, "flops_useful"), _peak(each)))),
        "probed_flop_per_second": _point(_over(launches, lambda each: _probed(each.repeat, "flop_per_s"))),
        "probed_bytes_per_second": _point(_over(launches, lambda each: _probed(each.repeat, "bytes_per_s"))),
        "share_of_probed": _point(
            _over(launches, lambda each: _ratio(_rate(each, "flops_executed"), _probed(each.repeat, "flop_per_s")))
        ),
        "joule_per_sample": _point(_over(launches, _joule_per_sample)),
        **_watched([window for each in launches for window in each.device_windows]),
        "note": _note(devices),
    }


def _over(launches: Sequence[Launch], of_launch: Callable[[Launch], float | None]) -> Estimate | None:
    """Over launches; None where one of them does not know it."""
    values = [value for launch in launches if (value := of_launch(launch)) is not None and value > 0]
    return stats.over_launches(values) if values and len(values) == len(launches) else None


def _point(found: Estimate | None) -> float | None:
    return found.point if found else None


def _ratio(value: float | None, whole: float | None) -> float | None:
    return value / whole if value is not None and whole else None


def _rate(launch: Launch, name: str) -> float | None:
    total, seconds = launch.total(name), launch.seconds
    return total / seconds if total is not None and seconds > 0 else None


def _distinct(repeat: Repeat) -> list[Device]:
    """Each device once, also where ranks share it. One without UUID is its rank's own."""
    found: dict[str, Device] = {}
    for place, device in enumerate(repeat.devices):
        host = repeat.hosts[device.rank] if device.rank < len(repeat.hosts) else ""
        found.setdefault(device.uuid or f"{host} {place}", device)
    return list(found.values())


def _peak(launch: Launch) -> float | None:
    """Of all devices together, in the precision asked for; None where one of them is not in the table."""
    peaks = [device.peak_flop_per_s for device in _distinct(launch.repeat)]
    return None if not peaks or None in peaks else sum(peak for peak in peaks if peak is not None)


def _probed(repeat: Repeat, name: str) -> float | None:
    """Of all ranks together, which were tried at the same time; None where a device was not."""
    tried = [getattr(probe, name) for probe in repeat.probes]
    return sum(tried) if tried and len(tried) == max(len(repeat.facts), len(_distinct(repeat))) else None


def _joule_per_sample(launch: Launch) -> float | None:
    """Energy of all devices over all samples; None in windows that are too short for the driver's counter."""
    samples, durations = launch.total("samples"), measure.pace(launch.windows).duration_ns
    if not samples or not len(durations) or float(median(durations.tolist())) < ENERGY_WINDOW_NS:
        return None
    found: dict[tuple[object, int], int | None] = {}
    for window in launch.device_windows:
        found.setdefault((window.uuid or window.rank, window.index), window.energy_mj)
    spent = list(found.values())
    known = [each for each in spent if each is not None]
    return sum(known) / 1e3 / samples if known and len(known) == len(spent) else None


def _watched(windows: Sequence[DeviceWindow]) -> dict[str, Cell]:
    """Over the windows that count, of all launches and devices."""
    power_mw = _middle([each.power_mw for each in windows])
    temperatures = [each.temperature_c for each in windows if each.temperature_c is not None]
    memory = [each.memory_used_bytes for each in windows if each.memory_used_bytes is not None]
    allocated = [each.allocated_bytes for each in windows if each.allocated_bytes is not None]
    reasons = [each.throttled_by for each in windows if each.throttled_by is not None]
    return {
        "power_w": None if power_mw is None else power_mw / 1e3,
        "sm_clock_mhz": _middle([each.sm_clock_mhz for each in windows]),
        "memory_clock_mhz": _middle([each.memory_clock_mhz for each in windows]),
        "temperature_c": max(temperatures, default=None),
        "throttled_by": ", ".join(sorted({name for names in reasons for name in names})) if any(reasons) else None,
        "throttled_share": sum(map(bool, reasons)) / len(reasons) if reasons else None,
        "utilisation": _middle([each.utilisation for each in windows]),
        "memory_used_bytes": max(memory, default=None),
        "allocated_bytes": max(allocated, default=None),
        "device_step_ms": _milliseconds([step for each in windows for step in each.step_ns]),
        **{
            f"{phase}_ms": _milliseconds([step for each in windows for step in each.phase_ns.get(phase, ())])
            for phase in ("forward", "backward", "update")
        },
    }


def _milliseconds(found_ns: Sequence[int]) -> float | None:
    middle_ns = _middle(found_ns)
    return None if middle_ns is None else middle_ns / 1e6


def _middle(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(median(known)) if known else None


def _of_facts(result: TrialResult) -> str | None:
    kinds = {name.rstrip("0123456789:") for facts in result.repeats[-1].facts for name in facts.devices}
    return "cpu" if {kind.lower().rpartition("/device:")[2] for kind in kinds} == {"cpu"} else None


def _note(devices: Sequence[Device]) -> str | None:
    """What must stand beside the numbers."""
    said = []
    most = max((device.ranks for device in devices), default=1)
    if most > 1:
        said.append(f"shared: {counted(most, 'rank')} on one device, as the study asks")
    if any(device.part for device in devices):
        said.append("a MIG instance: no peak is its own")
    unknown = sorted({device.name for device in devices if device.peak_flop_per_s is None and not device.part})
    if unknown:
        said.append(f"no peak is known of {', '.join(unknown)}")
    return "; ".join(said) or None


def _sentences(run: LoadedRun) -> tuple[str, ...]:
    """The devices' context, each once, and whose peaks they are."""
    devices = [device for result in run.result.trials for repeat in result.repeats for device in repeat.devices]
    said = dict.fromkeys(_context(device) for device in devices)
    sources = dict.fromkeys(
        f"Peak of {device.name} in {device.compute}: {device.peak_flop_per_s / 1e12:,.1f} TFLOP/s dense "
        f"({device.peak_source})."
        for device in devices
        if device.peak_flop_per_s is not None
    )
    return (*said, *sources)


def _context(device: Device) -> str:
    parts = [
        device.name,
        f"driver {device.driver}" if device.driver else None,
        f"CUDA {device.cuda}" if device.cuda else None,
        f"{device.memory_bytes / 2**30:.0f} GiB" if device.memory_bytes else None,
        f"power limit {device.power_limit_mw / 1e3:.0f} W" if device.power_limit_mw else None,
        f"SM clock up to {device.max_sm_clock_mhz} MHz" if device.max_sm_clock_mhz else None,
        None if device.persistence is None else f"persistence {'on' if device.persistence else 'off'}",
        f"links: {device.links}" if device.links else None,
    ]
    return ", ".join(part for part in parts if part) + "."
