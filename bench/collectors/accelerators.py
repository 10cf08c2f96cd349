"""A rank's GPUs, watched from the outside: one record each before the windows, and one a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bench.collectors import nvml
from bench.devices_peaks import peaks
from bench.protocols import Accelerator, Marks
from bench.records import Compute, Device, DeviceWindow

Connect = Callable[[], tuple[nvml.Library | None, str | None]]


class Watch:
    """Of one rank. Without a GPU it says nothing and costs nothing."""

    def __init__(
        self, rank: int, accelerators: Sequence[Accelerator], compute: Compute, connect: Connect = nvml.connect
    ) -> None:
        self._rank, self._compute, self._accelerators = rank, compute, accelerators
        self._library = connect()[0] if accelerators else None
        self._handles = [self._library.handle(each) if self._library else None for each in accelerators]
        self._uuids: list[str | None] = [each.uuid for each in accelerators]

    def devices(self) -> list[Device]:
        """What they are. A MIG instance is a part of a device and has no peak in any table."""
        found = []
        for place, (each, handle) in enumerate(zip(self._accelerators, self._handles, strict=True)):
            context = self._context(handle)
            uuid = self._uuids[place] = each.uuid or context.get("uuid")
            part = bool(context.pop("part", False)) or bool(uuid and uuid.startswith("MIG-"))
            known = None if part else peaks(each.name)
            found.append(
                Device(
                    rank=self._rank,
                    name=each.name,
                    compute=self._compute,
                    ranks=each.ranks,
                    part=part,
                    peak_flop_per_s=known.of(self._compute) if known else None,
                    peak_bytes_per_s=known.bytes if known else None,
                    peak_source=known.source if known else None,
                    **{**context, "uuid": uuid},
                )
            )
        return found

    def _context(self, handle: Any) -> dict[str, Any]:
        return self._library.context(handle)._asdict() if self._library and handle is not None else {}

    def read(self) -> list[nvml.Reading]:
        """Now, in the order of the devices; nothing but unknowns where the library does not answer."""
        return [
            self._library.read(handle) if self._library and handle is not None else nvml.Reading()
            for handle in self._handles
        ]

    def windows(
        self, index: int, exchange: bool, readings: tuple[Sequence[nvml.Reading], Sequence[nvml.Reading]],
        marks: Sequence[Marks],
    ) -> list[DeviceWindow]:  # fmt: skip
        """Of one window, from the `readings` before and after it, and what the devices themselves marked in it."""
        found = []
        for place, (before, after) in enumerate(zip(*readings, strict=True)):
            own = marks[place] if place < len(marks) else Marks((), None)
            braked = None if before.brakes is None or after.brakes is None else sorted(before.brakes | after.brakes)
            found.append(
                DeviceWindow(
                    rank=self._rank,
                    index=index,
                    exchange=exchange,
                    uuid=self._uuids[place],
                    step_ns=list(own.step_ns),
                    phase_ns={name: list(spent) for name, spent in own.phase_ns.items()},
                    energy_mj=_spent(before.energy_mj, after.energy_mj),
                    power_mw=after.power_mw,
                    sm_clock_mhz=after.sm_clock_mhz,
                    memory_clock_mhz=after.memory_clock_mhz,
                    temperature_c=after.temperature_c,
                    utilisation=after.utilisation,
                    memory_used_bytes=after.memory_used_bytes,
                    allocated_bytes=own.allocated_bytes,
                    throttled_by=braked,
                )
            )
        return found


def _spent(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None or after < before else after - before
