"""`paceline verify`: the gates alone, over the study's own trials and sizes. Nothing is timed, so launches overlap."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from bench import agreement, assemble, catalog, collect, gates, proofs, storage
from bench.agreement import Rehearsed
from bench.errors import TrialError
from bench.gates import rehearsal as rehearsal_gates
from bench.gates.launch import named
from bench.gates.report import trained_elements
from bench.launch.commands import Cluster
from bench.launching import Launched, assign, launch, lines
from bench.records import Assignment, GateOutcome, Plan, Rehearsal, Verification, Verified
from bench.run import Observer, new_folder, plan, prepare, refuse_empty
from bench.storage import seal
from bench.study import Study
from bench.verification import GRADIENTS, WEIGHTS

STEPS = 10
AT_ONCE = 2

Outcome = Rehearsed | str


def verify(study: Study, runs: Path, steps: int, cluster: Cluster, observer: Observer) -> tuple[Path, Verification]:
    """Launches every trial once, compares all, keeps what was found. Raises UserError before any launch."""
    refuse_empty(study)
    now = datetime.now(UTC)
    subjects = {subject.id: subject for subject in map(proofs.subject, study.trials)}
    planned = plan(msgspec.structs.replace(study, trials=list(subjects.values())), False, cluster, now)
    assignments = [
        msgspec.structs.replace(assign(trial, prepare(trial, runs, observer), cluster, planned), verify_steps=steps)
        for trial in planned.trials
    ]
    folder = new_folder(runs, f"{study.header.name}-verify-{now:%Y%m%dT%H%M%SZ}").resolve()
    storage.write_atomically(folder / "study.yaml", study.yaml.encode())
    found = _launch_all(assignments, folder, planned, cluster, observer)
    verified = judge(assignments, found, planned.created_utc)
    for outcome in found.values():
        _remove_tensors(outcome)
    verification = Verification(
        study=planned.study, environment=planned.environment, trials=verified, rejected=planned.rejected
    )
    storage.write_atomically(folder / assemble.VERIFICATION, seal(verification))
    proofs.remember(verification, planned.trials, runs)
    return folder, verification


# ---- launching --------------------------------------------------------------------------------------------------


def _launch_all(
    assignments: Sequence[Assignment], folder: Path, planned: Plan, cluster: Cluster, observer: Observer
) -> dict[str, Outcome]:
    """By trial id. Two at a time, unless they would want the same port or GPU. An interrupt ends all of them."""
    interrupted = threading.Event()

    def tick() -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt

    def one(assignment: Assignment) -> Outcome:
        observer.preparing(f"verifying {assignment.trial_id}")
        return rehearse(assignment, folder / assignment.trial_id, planned, cluster, tick)

    with ThreadPoolExecutor(1 if planned.rendezvous_port or catalog.has_gpu() else AT_ONCE) as pool:
        waiting = {assignment.trial_id: pool.submit(one, assignment) for assignment in assignments}
        try:
            return {trial_id: future.result() for trial_id, future in waiting.items()}
        except BaseException:
            interrupted.set()
            pool.shutdown(cancel_futures=True)
            raise


def rehearse(
    assignment: Assignment, folder: Path, planned: Plan, cluster: Cluster, tick: Callable[[], None]
) -> Outcome:
    """One launch of all ranks in a folder of its own; the sentence of its failure where it was not whole."""
    folder.mkdir(parents=True, mode=0o700)
    try:
        return gathered(assignment, folder, launch(assignment, folder, cluster, planned, tick))
    except TrialError as error:
        return str(error)


def gathered(assignment: Assignment, folder: Path, launched: Launched) -> Rehearsed:
    """What all ranks left. Raises TrialError with the sentence of the row where something is missing."""
    found = lines(launched, assignment, folder)
    return Rehearsed(
        assignment=assignment,
        folder=folder,
        reports=[collect.report(rank, of_rank) for rank, of_rank in enumerate(found)],
        rehearsals=[collect.only(of_rank, Rehearsal) for of_rank in found],
    )


def _remove_tensors(outcome: Outcome) -> None:
    if isinstance(outcome, Rehearsed):
        for name in (GRADIENTS, WEIGHTS):
            (outcome.folder / name).unlink(missing_ok=True)


# ---- judging ----------------------------------------------------------------------------------------------------


def judge(assignments: Sequence[Assignment], found: dict[str, Outcome], created_utc: str) -> list[Verified]:
    """Every trial by itself, and beside the others that did the same work, in the order of `assignments`."""
    whole = [outcome for outcome in found.values() if isinstance(outcome, Rehearsed)]
    compared = agreement.between(whole)
    verified = []
    for assignment in assignments:
        outcome, trial = found[assignment.trial_id], assignment.trial
        against = compared.get(assignment.trial_id, agreement.Compared())
        verified.append(
            Verified(
                trial_id=trial.id,
                backend=trial.backend,
                replicas=trial.replicas,
                created_utc=created_utc,
                steps=assignment.verify_steps,
                reference=against.reference,
                error=outcome if isinstance(outcome, str) else None,
                losses=against.losses,
                gradients=against.gradients,
                updates=against.updates,
                gates=[*own_gates(outcome), *against.gates] if isinstance(outcome, Rehearsed) else [],
            )
        )
    return verified


def own_gates(rehearsed: Rehearsed) -> list[GateOutcome]:
    """All gates of one launch, those of every launch first."""
    assignment, trial = rehearsed.assignment, rehearsed.trial
    expected, weights = expected_data(assignment)
    trained = trained_elements(assignment)
    outcomes = [
        rehearsal_gates.averaged(trial, rehearsed.rehearsals, trained),
        rehearsal_gates.own_data(rehearsed.rehearsals, expected),
        rehearsal_gates.learns(trial, rehearsed.rehearsals, [weights[head] for head in rehearsed.heads]),
        rehearsal_gates.restored(rehearsed.rehearsals),
    ]
    return [*gates.of_launch(assignment, rehearsed.reports), *(named(outcome, trial.backend) for outcome in outcomes)]


def expected_data(assignment: Assignment) -> tuple[list[list[int]], dict[str, float]]:
    """Digests by rank and step, and the global weights of the repeated batch, from the corpus itself."""
    from bench.workload.batches import Batches

    trial, local, digests = assignment.trial, assignment.local_replicas, []
    for rank in range(assignment.ranks):
        batches = Batches(Path(assignment.data), trial.workload, rank * local, local, trial.replicas)
        digests.append([batches.digest(batches.batch(step)) for step in range(assignment.verify_steps)])
    return digests, dict(batches.batch(assignment.verify_steps).global_weights)
