"""NVIDIA's management library about one device: what it is, and how it is doing. Imported when there is a GPU.

Every question is asked by itself: a device or driver that does not know an answer leaves None, and the rest stands.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from bench.protocols import Accelerator

# Bits of nvmlClocksEventReasons; "idle" (1) is no brake, nor are the clocks that an application asked for (2).
BRAKES = {
    0x4: "power cap",
    0x8: "hardware slow-down",
    0x10: "sync boost",
    0x20: "temperature, by software",
    0x40: "temperature, by hardware",
    0x80: "power brake",
    0x100: "display clocks",
}
_LINKS = 18  # NVLinks that a device has at most


class Context(NamedTuple):
    """What does not change during a run."""

    uuid: str | None
    part: bool
    memory_bytes: int | None
    driver: str | None
    cuda: str | None
    persistence: bool | None
    power_limit_mw: int | None
    max_sm_clock_mhz: int | None
    max_memory_clock_mhz: int | None
    links: str | None


class Reading(NamedTuple):
    """Now; `energy_mj` since the driver was loaded."""

    energy_mj: int | None = None
    power_mw: int | None = None
    sm_clock_mhz: int | None = None
    memory_clock_mhz: int | None = None
    temperature_c: int | None = None
    utilisation: float | None = None
    memory_used_bytes: int | None = None
    brakes: frozenset[str] | None = None


class Library:
    """One process' connection to the management library. `module` is pynvml, or a double of it."""

    def __init__(self, module: Any, environ: Mapping[str, str]) -> None:
        self._nvml, self._environ = module, environ

    def handle(self, device: Accelerator) -> Any | None:
        """By UUID where the framework tells one, else by what CUDA_VISIBLE_DEVICES calls it. None: not to be found."""
        if device.uuid is not None:
            return self._ask(self._nvml.nvmlDeviceGetHandleByUUID, device.uuid)
        name = _visible(self._environ.get("CUDA_VISIBLE_DEVICES"), device.ordinal)
        if name is None:
            return None
        if name.isdigit():
            # Both count in this order only when told to, or where all devices are alike.
            return self._ask(self._nvml.nvmlDeviceGetHandleByIndex, int(name)) if self._same_order() else None
        return self._ask(self._nvml.nvmlDeviceGetHandleByUUID, name)

    def _same_order(self) -> bool:
        if self._environ.get("CUDA_DEVICE_ORDER") == "PCI_BUS_ID":
            return True
        return len(set(self.names())) == 1

    def names(self) -> list[str]:
        """Of all devices of this host, in the library's order; "unknown" where it does not tell."""
        count = self._ask(self._nvml.nvmlDeviceGetCount) or 0
        handles = [self._ask(self._nvml.nvmlDeviceGetHandleByIndex, index) for index in range(count)]
        return [_text(self._ask(self._nvml.nvmlDeviceGetName, handle)) or "unknown" for handle in handles]

    def context(self, handle: Any) -> Context:
        """Waits some milliseconds."""
        nvml, ask = self._nvml, self._ask
        cuda = ask(nvml.nvmlSystemGetCudaDriverVersion)
        persistence = ask(nvml.nvmlDeviceGetPersistenceMode, handle)
        memory = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        return Context(
            uuid=_text(ask(nvml.nvmlDeviceGetUUID, handle)),
            part=bool(ask(nvml.nvmlDeviceIsMigDeviceHandle, handle)),
            memory_bytes=None if memory is None else int(memory.total),
            driver=_text(ask(nvml.nvmlSystemGetDriverVersion)),
            cuda=None if cuda is None else f"{cuda // 1000}.{cuda % 1000 // 10}",
            persistence=None if persistence is None else bool(persistence),
            power_limit_mw=ask(nvml.nvmlDeviceGetEnforcedPowerLimit, handle),
            max_sm_clock_mhz=ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_SM),
            max_memory_clock_mhz=ask(nvml.nvmlDeviceGetMaxClockInfo, handle, nvml.NVML_CLOCK_MEM),
            links=self._links(handle),
        )

    def _links(self, handle: Any) -> str | None:
        states = [self._ask(self._nvml.nvmlDeviceGetNvLinkState, handle, link) for link in range(_LINKS)]
        if all(state is None for state in states):
            return None
        active = sum(state == 1 for state in states)
        return f"{active} NVLinks" if active else "none"

    def read(self, handle: Any) -> Reading:
        """About 1 ms: never inside a window."""
        nvml, ask = self._nvml, self._ask
        memory = ask(nvml.nvmlDeviceGetMemoryInfo, handle)
        rates = ask(nvml.nvmlDeviceGetUtilizationRates, handle)
        reasons = ask(nvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle)
        return Reading(
            energy_mj=ask(nvml.nvmlDeviceGetTotalEnergyConsumption, handle),
            power_mw=ask(nvml.nvmlDeviceGetPowerUsage, handle),
            sm_clock_mhz=ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM),
            memory_clock_mhz=ask(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_MEM),
            temperature_c=ask(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU),
            utilisation=None if rates is None else rates.gpu / 100,
            memory_used_bytes=None if memory is None else int(memory.used),
            brakes=None if reasons is None else frozenset(name for bit, name in BRAKES.items() if reasons & bit),
        )

    def _ask(self, question: Callable[..., Any], *arguments: Any) -> Any | None:
        try:
            return question(*arguments)
        except self._nvml.NVMLError:
            return None


def connect() -> tuple[Library | None, str | None]:
    """The library, or None and why it cannot be asked."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None, "nvidia-ml-py is not installed (pip install 'paceline[gpu]')"
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return None, f"the NVIDIA driver does not answer: {error}"
    return Library(nvml, os.environ), None


def _visible(variable: str | None, ordinal: int) -> str | None:
    """What CUDA_VISIBLE_DEVICES calls the device of this ordinal: an index as text, or a UUID. CUDA reads the list up
    to the first entry that is none.

    >>> _visible("3,1", 1), _visible(None, 2), _visible("MIG-4f", 0), _visible("1,-1,2", 2)
    ('1', '2', 'MIG-4f', None)
    """
    if variable is None:
        return str(ordinal)
    names: list[str] = []
    for name in (part.strip() for part in variable.split(",")):
        if not (name.isdigit() or name.startswith(("GPU-", "MIG-"))):
            break
        names.append(name)
    return names[ordinal] if ordinal < len(names) else None


def _text(value: Any) -> str | None:
    """Older versions of the library return bytes."""
    return value.decode() if isinstance(value, bytes) else value
