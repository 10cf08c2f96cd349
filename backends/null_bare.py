"""No framework and programmed times, on one device without a wrapper."""

from __future__ import annotations

from backends._programmed import Programmed
from bench.protocols import Backend as Protocol


class Backend(Programmed):
    """Where a ladder of programmed times begins."""

    wrapped = False


_CONFORMS: type[Protocol] = Backend
