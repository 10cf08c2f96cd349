"""The GPUs that a rank ran on, and what they did during its windows. Part of the file format; import it from
bench.records.

None: the driver, the management library or the framework does not tell, or there is none.
"""

from __future__ import annotations

import msgspec

from bench.trial import Record


class Device(Record, frozen=True, kw_only=True, tag="device"):
    """One device of one rank as it was before the windows.

    name                  as driver and framework tell it; `uuid` of the part where it is a MIG instance
    ranks                 that were placed on it: more than 1 only where the trial shares devices
    part                  a MIG instance: neither peaks nor energy of the whole device are its own
    peak_flop_per_s       dense products in `compute`, from the maker's datasheet `peak_source`; None: not in the table
    peak_bytes_per_s      of its memory, from the same
    driver, cuda          versions; `cuda` is the newest that the driver has
    links                 in words, to the other devices of this host: "18 NVLinks" or "none"
    """

    rank: int
    name: str
    compute: str
    uuid: str | None = None
    ranks: int = 1
    part: bool = False
    memory_bytes: int | None = None
    peak_flop_per_s: float | None = None
    peak_bytes_per_s: float | None = None
    peak_source: str | None = None
    driver: str | None = None
    cuda: str | None = None
    persistence: bool | None = None
    power_limit_mw: int | None = None
    max_sm_clock_mhz: int | None = None
    max_memory_clock_mhz: int | None = None
    links: str | None = None


class DeviceWindow(Record, frozen=True, kw_only=True, tag="device_window"):
    """One device during one window. Read before the barrier that begins it and right after the fence that ends it.

    step_ns            of each step on the device's own clock, from the end of the one before; the first one's from its
                       first operation
    phase_ns           of each step, what of step_ns was "forward" (with the copy of the batch), "backward" (with what
                       is left of the exchange when it ends) and "update"; empty where it is not told
    energy_mj          of the whole device between the two readings. The driver updates it some 10 to 50 times a second
    power_mw ... memory_used_bytes  at the end of the window
    utilisation        share of the driver's last sampling period (up to 1 s) in which some kernel ran, 0 to 1
    throttled_by       why clocks were below what they could be, at either reading; "idle" is not among them
    allocated_bytes    the framework's largest allocation in the window
    """

    rank: int
    index: int
    exchange: bool
    uuid: str | None = None
    step_ns: list[int] = msgspec.field(default_factory=list)
    phase_ns: dict[str, list[int]] = msgspec.field(default_factory=dict)
    energy_mj: int | None = None
    power_mw: int | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    utilisation: float | None = None
    memory_used_bytes: int | None = None
    allocated_bytes: int | None = None
    throttled_by: list[str] | None = None


class Probe(Record, frozen=True, kw_only=True, tag="probe"):
    """What a rank's device reached without the job, right after the windows, best of some tries. All ranks try at once.

    flop_per_s    of a square matrix product of `size` rows in `compute`
    bytes_per_s   of a copy within its memory, bytes read plus bytes written
    threads       of the framework, on a CPU
    """

    rank: int
    compute: str
    size: int
    flop_per_s: float
    bytes_per_s: float
    threads: int | None = None
