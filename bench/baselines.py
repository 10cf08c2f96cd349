"""What a run measured, under which circumstances, and a small store of such readings to hold later runs against."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from bench import regression
from bench.errors import UserError
from bench.records import SCHEMA, Record
from bench.storage import Damaged, seal, unseal, write_atomically

Scalar = str | bool | int | float | None
Fingerprint = dict[str, Scalar]

STORE = ".baselines"
NAMED = 4  # differing keys that a refusal spells out


class Reading(Record, frozen=True, kw_only=True):
    """One trial of one run. `launch_rates`: samples per second, in order of repeat; empty where `reason` says why.

    run        name of the run folder
    revision   of the code that was measured, None outside a checkout
    reference  later runs are held against this one; the others of the store tell how much honest runs differ
    """

    study: str
    run: str
    created_utc: str
    revision: str | None
    trial_id: str
    fingerprint: Fingerprint
    launch_rates: list[float]
    reason: str | None
    reference: bool = False
    schema: int = SCHEMA


class History(Record, frozen=True, kw_only=True):
    """A file of the store: readings with one fingerprint, in order of saving."""

    readings: list[Reading]
    schema: int = SCHEMA


def identify(found: Fingerprint) -> str:
    """16 hex digits of the SHA-256 of the fingerprint."""
    return hashlib.sha256(msgspec.json.encode(found, order="sorted")).hexdigest()[:16]


def read_run(run_folder: Path) -> list[Reading]:
    """Every trial of a finished run. Raises UserError: no run, another schema, damaged, or a quick look."""
    from reports import load, table
    from reports.across import circumstances

    loaded = load.load(run_folder)
    result = loaded.result
    if result.quick:
        raise UserError(f"{run_folder} is a quick run: a look, not a measurement; run the study without --quick")
    by_id = {trial.trial_id: trial for trial in result.trials}
    return [
        Reading(
            study=result.study,
            run=run_folder.resolve().name,
            created_utc=result.created_utc,
            revision=result.environment.revision,
            trial_id=row.trial_id,
            fingerprint=circumstances.fingerprint(by_id[row.trial_id], result.environment),
            launch_rates=list(row.measured.launch_rates) if row.measured else [],
            reason=row.reason,
        )
        for row in table.rows(loaded)
        if row.status != "not_selectable"
    ]


def match(reading: Reading, candidates: Sequence[Reading]) -> tuple[Reading | None, str | None]:
    """The candidate with the same fingerprint; else None, and in which keys the nearest one differs."""
    from reports import compare

    if not candidates:
        return None, "there is no baseline"
    differences = [compare.differing(reading.fingerprint, other.fingerprint) for other in candidates]
    nearest = min(range(len(candidates)), key=lambda place: len(differences[place]))
    if not differences[nearest]:
        return candidates[nearest], None
    named = differences[nearest][:NAMED]
    more = len(differences[nearest]) - len(named)
    return None, f"the nearest baseline differs in {', '.join(named)}{f' and {more} more keys' if more else ''}"


def same_run(one: Reading, other: Reading) -> bool:
    """A run held against itself would always pass."""
    return (one.run, one.created_utc) == (other.run, other.created_utc)


def hold_against(
    readings: Sequence[Reading], candidates: Sequence[Reading], store: Store, rule: regression.Rule, whole: bool
) -> list[regression.Finding]:
    """A finding per reading; with `whole`, also one per candidate that the run has no counterpart of.

    How much honest runs differ is taken from the store, of the candidate's fingerprint, this run left out. Raises
    UserError where no reading can be compared at all: with the differing keys.
    """
    matches = [match(reading, candidates) for reading in readings]
    comparisons = sum(1 for found, _ in matches if found)
    if comparisons == 0:
        raise UserError(f"{readings[0].run} cannot be compared: {matches[0][1]}")
    findings = []
    for reading, (found, why) in zip(readings, matches, strict=True):
        if found is None or not found.launch_rates or not reading.launch_rates:
            reason = why or reading.reason or f"its baseline has no speed: {found.reason if found else None}"
            findings.append(regression.undecided(reading.trial_id, reason))
            continue
        history = [other.launch_rates for other in store.history(found.fingerprint) if not same_run(other, reading)]
        spread = regression.recorded_spread(history)
        judged = regression.judge(reading.trial_id, reading.launch_rates, found.launch_rates, spread, comparisons, rule)
        findings.append(judged if spread else _with_reserve(judged))
    matched = {found.trial_id for found, _ in matches if found} | {reading.trial_id for reading in readings}
    gone = sorted({other.trial_id for other in candidates if whole and other.launch_rates} - matched)
    return findings + [regression.undecided(one, "the baseline has it, and this run has not") for one in gone]


def _with_reserve(found: regression.Finding) -> regression.Finding:
    """Launches of two runs tell nothing of how the machine itself changed between them."""
    if found.verdict != "regress":
        return found
    few = "fewer than three with several launches are saved (--save)"
    return replace(found, sentence=f"{found.sentence}; how much runs of the same work differ here is not known: {few}")


class Store:
    """Readings in `folder`, one file per fingerprint. Created when something is saved."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def history(self, found: Fingerprint) -> list[Reading]:
        """Since and with the last reference, in order of saving; empty where nothing is saved."""
        readings = self._all(self._path(found))
        references = [place for place, reading in enumerate(readings) if reading.reference]
        return readings[references[-1] :] if references else []

    def references(self) -> list[Reading]:
        """What later runs are held against: one per fingerprint."""
        histories = [self._all(path) for path in sorted(self._folder.glob("*.json"))]
        found = [[reading for reading in history if reading.reference] for history in histories]
        return [references[-1] for references in found if references]

    def save(self, reading: Reading, reference: bool) -> None:
        """Adds a reading, the first one as the reference. The same run saved again replaces its earlier reading.

        Raises UserError for a reading without a speed.
        """
        if not reading.launch_rates:
            raise UserError(f"{reading.trial_id} of {reading.run} has no speed to save: {reading.reason}")
        path = self._path(reading.fingerprint)
        earlier = self._all(path)
        kept = [other for other in earlier if not same_run(other, reading)]
        is_reference = reference or not any(other.reference for other in kept)
        self._folder.mkdir(parents=True, exist_ok=True)
        history = History(readings=[*kept, msgspec.structs.replace(reading, reference=is_reference)])
        write_atomically(path, seal(history))

    def _path(self, found: Fingerprint) -> Path:
        return self._folder / f"{identify(found)}.json"

    def _all(self, path: Path) -> list[Reading]:
        if not path.exists():
            return []
        try:
            return unseal(path.read_bytes(), History).readings
        except Damaged as error:
            raise UserError(f"{path} is no baseline that can be used: {error}") from None
