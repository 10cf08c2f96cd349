"""PyTorch on one device without a wrapper: what every PyTorch wrapper is measured against."""

from __future__ import annotations

from backends._torch import TorchBackend
from bench.protocols import Backend as Protocol


class Backend(TorchBackend):
    """One rank, one device, no exchange."""


_CONFORMS: type[Protocol] = Backend
