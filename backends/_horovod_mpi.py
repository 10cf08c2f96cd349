"""Which all-reduce Open MPI runs under Horovod: its own parameters, read back from the library that is loaded."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from pathlib import Path

from backends import OPEN_MPI

MAPS = Path("/proc/self/maps")
CHOOSES = "Open MPI chooses for each size and number of ranks, and is not observed"


def mpi_algorithm() -> tuple[str, str]:
    """(name, evidence), once Horovod has started MPI. Another MPI than Open MPI is not observed."""
    names = {f"coll_tuned_{operation}_algorithm" for each in OPEN_MPI.values() for operation in each}
    asked = ["coll_tuned_use_dynamic_rules", *sorted(names)]
    return named({name: value for name in asked if (value := parameter(name)) is not None})


def named(parameters: Mapping[str, int]) -> tuple[str, str]:
    """(name, evidence) of the all-reduce to which these parameters lead.

    >>> named({"coll_tuned_use_dynamic_rules": 1, "coll_tuned_allreduce_algorithm": 4})[0]
    'ring'
    """
    if not parameters:
        return "unknown", "the MPI library chooses for each size; it has none of Open MPI's parameters"
    chosen = parameters.get("coll_tuned_allreduce_algorithm", 0)
    if not parameters.get("coll_tuned_use_dynamic_rules") or not chosen:
        return "unknown", CHOOSES
    read = ", ".join(f"{name} {value}" for name, value in parameters.items() if value)
    for name, numbers in OPEN_MPI.items():
        if all(parameters.get(f"coll_tuned_{each}_algorithm") == number for each, number in numbers.items()):
            return name, f"read back from Open MPI by MPI_T: {read}; of fewer elements than ranks it may run another"
    return "unknown", f"read back from Open MPI by MPI_T: {read}"


def parameter(name: str) -> int | None:
    """An integer parameter of the MPI library in this process, as it is now; None where there is none of that name."""
    library = _library()
    if library is None:
        return None
    index, handle, count, value = ctypes.c_int(), ctypes.c_void_p(), ctypes.c_int(), ctypes.c_int()
    if library.MPI_T_cvar_get_index(name.encode(), ctypes.byref(index)) != 0:
        return None
    if library.MPI_T_cvar_handle_alloc(index, None, ctypes.byref(handle), ctypes.byref(count)) != 0:
        return None
    read = library.MPI_T_cvar_read(handle, ctypes.byref(value))
    library.MPI_T_cvar_handle_free(ctypes.byref(handle))
    return value.value if read == 0 and count.value == 1 else None


@functools.cache
def _library() -> ctypes.CDLL | None:
    """The one that Horovod has loaded, with its tool interface open for as long as the process lives."""
    lines = MAPS.read_text().splitlines() if MAPS.is_file() else []
    paths = (line.split(maxsplit=5)[-1] for line in lines if "/libmpi.so" in line)
    path = next(paths, None)
    if path is None:
        return None
    library, provided = ctypes.CDLL(path), ctypes.c_int()
    return library if library.MPI_T_init_thread(0, ctypes.byref(provided)) == 0 else None
