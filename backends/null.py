"""No framework and programmed times, on any number of ranks: the harness's own test double."""

from __future__ import annotations

from backends._programmed import Programmed
from bench.protocols import Backend as Protocol


class Backend(Programmed):
    """Its options are in backends/_programmed.py."""


_CONFORMS: type[Protocol] = Backend
