"""A double of pynvml that answers as a driver did: tests read what an H100, a MIG instance and a GeForce would say."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    """What the library raises where a device or driver does not know an answer."""


# Of one H100 in the middle of a run; a missing key is an answer that the device does not know.
H100: dict[str, Any] = {
    "Name": "NVIDIA H100 80GB HBM3",
    "UUID": "GPU-8f6d1c2a",
    "PersistenceMode": 1,
    "MemoryInfo": SimpleNamespace(total=85_520_809_984, used=12_000_000_000),
    "EnforcedPowerLimit": 700_000,
    "MaxClockInfo": {1: 1980, 2: 2619},
    "NvLinkState": 1,
    "TotalEnergyConsumption": [1_000_000, 1_650_000],
    "PowerUsage": 648_000,
    "ClockInfo": {1: 1755, 2: 2619},
    "Temperature": 61,
    "UtilizationRates": SimpleNamespace(gpu=98, memory=40),
    "CurrentClocksThrottleReasons": [0x1, 0x4 | 0x20],
}
GEFORCE = {key: H100[key] for key in ("PowerUsage", "ClockInfo", "Temperature")} | {
    "Name": b"NVIDIA GeForce RTX 4090", "UUID": b"GPU-4090",
}  # fmt: skip
MIG = {
    "UUID": "MIG-1c2d",
    "MemoryInfo": SimpleNamespace(total=10_000_000_000, used=1),
    "Name": "NVIDIA H100 MIG 1g.10gb",
}


class Management:
    """The functions that bench.collectors.nvml asks, over `devices`: lists give one answer after the other."""

    NVMLError = NVMLError
    NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = 1, 2, 0

    def __init__(self, *devices: dict[str, Any]) -> None:
        self.devices = [{key: list(value) if isinstance(value, list) else value for key, value in each.items()}
                        for each in devices]  # fmt: skip

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvmlDeviceGet"):
            raise AttributeError(name)

        def answer(device: dict[str, Any], *arguments: int) -> Any:
            value = device.get(name.removeprefix("nvmlDeviceGet"))
            if value is None:
                raise NVMLError("Not Supported")
            if isinstance(value, list):
                return value.pop(0)
            return value[arguments[0]] if isinstance(value, dict) else value

        return answer

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.124.06"

    def nvmlSystemGetCudaDriverVersion(self) -> int:
        return 12080

    def nvmlDeviceGetCount(self) -> int:
        return len(self.devices)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        return self.devices[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> dict[str, Any]:
        for device in self.devices:
            if device["UUID"] in (uuid, uuid.encode()):
                return device
        raise NVMLError("Not Found")

    def nvmlDeviceIsMigDeviceHandle(self, device: dict[str, Any]) -> int:
        return int(str(device["UUID"]).startswith("MIG-"))
