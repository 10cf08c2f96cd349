"""What earlier verifications found, by trial and by everything that could change it; kept below the run folders.

A run takes a copy of what is known of its trials when it begins, so that its result can be derived again at any time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

import bench
from bench.assemble import VERIFICATION
from bench.records import Environment, Plan, Quality, Timing, Trial, Verification, Verified
from bench.storage import Damaged, seal, unseal, write_atomically


def subject(trial: Trial) -> Trial:
    """What is verified of a trial: all but how long it is measured and evaluated."""
    return msgspec.structs.replace(trial, timing=Timing(), quality=Quality())


def remember(verification: Verification, trials: Sequence[Trial], runs: Path) -> None:
    """Keeps what was found of each trial for later runs, one file each. `trials` are subjects, in the same order."""
    for trial, verified in zip(trials, verification.trials, strict=True):
        path = _path(trial, verification.environment, runs)
        path.parent.mkdir(parents=True, exist_ok=True)
        alone = msgspec.structs.replace(verification, trials=[verified], rejected=[])
        write_atomically(path, seal(alone))


def carry(planned: Plan, runs: Path, folder: Path) -> None:
    """Copies into a new run folder what is known of the plan's trials, under their own ids."""
    found: list[Verified] = []
    ids: dict[str | None, str] = {subject(trial).id: trial.id for trial in planned.trials}
    for trial in planned.trials:
        known = _read(_path(subject(trial), planned.environment, runs))
        for verified in known.trials if known else ():
            reference = ids.get(verified.reference, verified.reference)
            found.append(msgspec.structs.replace(verified, trial_id=trial.id, reference=reference))
    if found:
        carried = Verification(study=planned.study, environment=planned.environment, trials=found, rejected=[])
        write_atomically(folder / VERIFICATION, seal(carried))


def _read(path: Path) -> Verification | None:
    """None where there is none; what is damaged or of another schema proves nothing."""
    try:
        return unseal(path.read_bytes(), Verification)
    except (OSError, Damaged):
        return None


def _path(trial: Trial, seen: Environment, runs: Path) -> Path:
    """By the trial and by all that could change what it computes: packages, processor, this program's own text."""
    content = msgspec.json.encode([seen.packages, seen.python, seen.platform, seen.cpu, _program_digest()])
    return runs / ".cache" / "verified" / f"{trial.id}-{hashlib.sha256(content).hexdigest()[:16]}.json"


def _program_digest() -> str:
    """Of every module of bench and backends: a proof does not outlive the code that it is about."""
    here = Path(bench.__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for path in sorted(path for part in ("bench", "backends") for path in (here / part).rglob("*.py")):
        digest.update(f"{path.relative_to(here)}\0".encode() + path.read_bytes())
    return digest.hexdigest()
