"""What tells a library, before its ranks start, which all-reduce to run: variables of Open MPI and of NCCL."""

from __future__ import annotations

from collections.abc import Mapping

from backends import OPEN_MPI
from bench.records import Trial

PROTOCOLS = ("LL", "LL128", "Simple")  # of NCCL
# For the all-reduce only: with a bare name NCCL's broadcasts, which know no tree, would fail at the start.
NCCL = {"ring": "allreduce:ring", "tree": "allreduce:tree"}


def algorithm_variables(trial: Trial) -> dict[str, str]:
    """For all ranks; none where the library chooses. What does not use the library does not read its variables.

    Open MPI's coll/han, where it is built, would take the operation away from coll/tuned, which has the algorithms.
    """
    variables: dict[str, str] = {}
    if trial.allreduce in OPEN_MPI:
        variables = {"OMPI_MCA_coll": "^han,adapt", "OMPI_MCA_coll_tuned_use_dynamic_rules": "1"}
        variables |= {f"OMPI_MCA_{name}": str(value) for name, value in tuned(OPEN_MPI[trial.allreduce]).items()}
    if trial.allreduce in NCCL:
        variables |= {"NCCL_ALGO": NCCL[trial.allreduce]}
    if "nccl_protocol" in trial.options:
        variables |= {"NCCL_PROTO": str(trial.options["nccl_protocol"])}
    return variables


def tuned(numbers: Mapping[str, int]) -> dict[str, int]:
    """By operation to by the name of Open MPI's parameter."""
    return {f"coll_tuned_{operation}_algorithm": number for operation, number in numbers.items()}
