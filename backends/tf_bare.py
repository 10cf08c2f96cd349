"""TensorFlow on one device without a wrapper: what every TensorFlow wrapper is measured against."""

from __future__ import annotations

from backends._tensorflow import TensorFlowBackend
from bench.protocols import Backend as Protocol


class Backend(TensorFlowBackend):
    """One rank, one device, no exchange."""


_CONFORMS: type[Protocol] = Backend
