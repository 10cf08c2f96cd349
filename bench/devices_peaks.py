"""What devices can reach at most, from their makers' datasheets: dense products, and bytes of their own memory.

Looked up by the exact name that the driver gives. A device that is not here has no peak: another one's would be wrong.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.records import Compute


class Peaks(NamedTuple):
    """Per second. `half` of float16 and of bfloat16, both summed in float32. Datasheets print what structured
    sparsity would give, twice as much: here is the dense value."""

    half: float
    tf32: float
    float32: float
    bytes: float
    source: str

    def of(self, compute: Compute) -> float:
        """Floating-point operations per second, a product and its sum being two."""
        return {"tf32": self.tf32, "float32": self.float32}.get(compute, self.half)


def _peaks(half: float, tf32: float, float32: float, memory: float, source: str) -> Peaks:
    """From tera."""
    of_16, of_tf32, of_32, moved = (float(round(tera * 1e12)) for tera in (half, tf32, float32, memory))
    return Peaks(of_16, of_tf32, of_32, moved, source)


_H100 = "NVIDIA H100 Tensor Core GPU datasheet"
_A100 = "NVIDIA A100 Tensor Core GPU datasheet"
# Sheets print 1,979 with sparsity for the H100 and H200; 989.4 dense is in NVIDIA's H100 architecture paper.
PEAKS: dict[str, Peaks] = {
    "NVIDIA B200": _peaks(2250, 1100, 75, 7.7, "NVIDIA HGX B200 datasheet, one GPU"),
    "NVIDIA H200": _peaks(989.4, 494.7, 66.9, 4.8, "NVIDIA H200 Tensor Core GPU datasheet, SXM"),
    "NVIDIA H200 NVL": _peaks(835.5, 417.5, 60, 4.8, "NVIDIA H200 Tensor Core GPU datasheet, NVL"),
    "NVIDIA H100 80GB HBM3": _peaks(989.4, 494.7, 66.9, 3.35, f"{_H100}, SXM"),
    "NVIDIA H100 NVL": _peaks(835.5, 417.5, 60, 3.9, f"{_H100}, NVL"),
    "NVIDIA H100 PCIe": _peaks(756, 378, 51, 2.0, f"{_H100}, PCIe"),
    "NVIDIA A100-SXM4-80GB": _peaks(312, 156, 19.5, 2.039, f"{_A100}, SXM 80 GB"),
    "NVIDIA A100 80GB PCIe": _peaks(312, 156, 19.5, 1.935, f"{_A100}, PCIe 80 GB"),
    "NVIDIA A100-SXM4-40GB": _peaks(312, 156, 19.5, 1.555, f"{_A100}, SXM 40 GB"),
    "NVIDIA A100-PCIE-40GB": _peaks(312, 156, 19.5, 1.555, f"{_A100}, PCIe 40 GB"),
    "NVIDIA L40S": _peaks(362.05, 183, 91.6, 0.864, "NVIDIA L40S datasheet"),
    "NVIDIA GeForce RTX 4090": _peaks(
        165.2, 82.6, 82.6, 1.008, "NVIDIA Ada GPU architecture paper, sums in float32"
    ),
}  # fmt: skip


def peaks(name: str) -> Peaks | None:
    """Of the device that its driver calls so."""
    return PEAKS.get(name)
