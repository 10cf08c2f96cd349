"""The one owner of the summary numbers: a Row per trial. Every document shows these and computes nothing itself."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from bench import stats
from bench.records import GateOutcome, Result, Trial, TrialResult, Verified
from bench.stats import LAUNCHES_FOR_INTERVAL, Estimate
from reports import caveats, compare, measure, precision
from reports.caveats import Caveat, WarmUp
from reports.load import LoadedRun
from reports.measure import Measured
from reports.precision import Axis
from reports.quality import Quality, quality, without_interval
from reports.text import counted

IN_PROCESS = "in one process"  # in the place of the bytes that are sent
Status = Literal["ok", "failed", "not_selectable", "withheld"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One trial in the summary. `measured` is None unless status is "ok": no other trial shows a speed.

    status              "withheld": it ran, and a gate or its windows forbid a speed
    reason              why it is not ok
    processes           of one launch, all hosts together; None: nobody said
    no_interval         why its numbers have no interval
    efficiency          R(N) / (N R(1)) against `baseline`, the bare run of the same framework and work
    scaling             "weak": each replica has the bare run's batch; "strong": all together have it; None: one replica
    baseline_note       what stands in the place of an efficiency
    oversubscribed, suspect  caveats, None where they do not apply
    stopped             why it got no further launch
    loss_difference     largest relative difference of any step's loss, in any launch, from the first launch of
                        `loss_reference`, the first trial with equal work, one in float32 before others: what another
                        precision does to the losses is in it; infinite where a loss is not finite
    compute, wire, allreduce   precision and algorithm, as asked for and as they ran
    allreduce_evidence  how the algorithm that ran is known
    quality             None where nothing was evaluated, or where status is not "ok"
    warm_up             how many windows of its launches do not count
    verified            what `paceline verify` had found of this trial before the run; None: nothing
    """

    trial_id: str
    label: str
    trial: Trial
    mode: str
    framework: str
    status: Status
    reason: str | None
    launches: int
    processes: int | None
    measured: Measured | None
    no_interval: str | None
    efficiency: Estimate | None
    baseline: str | None
    scaling: Literal["weak", "strong"] | None
    baseline_note: str | None
    oversubscribed: Caveat | None
    suspect: Caveat | None
    stopped: str | None
    warm_up: WarmUp | None
    loss_difference: float | None
    loss_reference: str | None
    compute: Axis
    wire: Axis
    allreduce: Axis
    allreduce_evidence: str | None
    quality: Quality | None
    verified: Verified | None

    @property
    def in_process(self) -> bool:
        """Replicas in one process exchange in its memory: no connection carries it, and no bytes are counted."""
        return self.processes == 1 < self.trial.replicas

    @property
    def mismatch(self) -> str | None:
        """The axes on which something else ran than was asked for, in words."""
        axes = (("compute", self.compute), ("wire", self.wire))
        parts = [f"{name} {precision.said(axis)}" for name, axis in axes if axis.differs]
        return "; ".join(parts) or None

    @property
    def caveats(self) -> list[Caveat]:
        """To be shown wherever a number of this row is."""
        return [caveat for caveat in (self.oversubscribed, self.suspect) if caveat and self.measured]


class Found(NamedTuple):
    """A gate and where it was applied. `trial_id` None: between trials, and none of them is named. `repeat` None: not
    in one launch."""

    trial_id: str | None
    repeat: int | None
    verification: bool
    gate: GateOutcome

    @property
    def where(self) -> str:
        """ " in launch 2", say; empty where the sentence says it all."""
        if self.verification:
            return " in the verification"
        return "" if self.repeat is None else f" in launch {self.repeat}"


def rows(run: LoadedRun) -> list[Row]:
    """One row per trial, in the order of the study."""
    result = run.result
    labels = compare.labels(result.trials)
    plain = [_row(result, trial, run, labels[trial.trial_id]) for trial in result.trials]
    by_id = {row.trial_id: row for row in plain}
    groups = {trial.trial_id: group for group in compare.same_work(result.trials, across=True) for trial in group}
    return [
        _with_losses(_with_efficiency(row, trial, result, by_id), trial, groups[trial.trial_id])
        for row, trial in zip(plain, result.trials, strict=True)
    ]


def gates(result: Result) -> Iterator[Found]:
    """Every gate: between trials, of each launch, and of the verification before the run."""
    for gate in result.gates:
        yield Found(gate.trial_id, None, False, gate)
    for trial in result.trials:
        for repeat in trial.repeats:
            for gate in repeat.gates:
                yield Found(trial.trial_id, repeat.repeat, False, gate)
    for verified in result.verification:
        for gate in verified.gates:
            yield Found(verified.trial_id, None, True, gate)


def withheld(result: Result, trial: TrialResult) -> str | None:
    """The failed gate that forbids this trial a speed, or None. A gate of the run that names no trial forbids all."""
    for found in gates(result):
        if found.gate.holds is False and found.trial_id in (None, trial.trial_id):
            return f"gate {found.gate.gate} failed{found.where}: {found.gate.sentence}"
    return None


def _row(result: Result, trial: TrialResult, run: LoadedRun, label: str) -> Row:
    status, reason = _status(result, trial)
    if status == "ok":
        reason = measure.defect(trial, run.windows)
        status = "withheld" if reason else "ok"
    measured = measure.measure(trial, run.windows) if status == "ok" else None
    launches = len(trial.repeats)
    return Row(
        trial_id=trial.trial_id,
        label=label,
        trial=trial.trial,
        mode=trial.mode,
        framework=trial.framework,
        status=status,
        reason=reason,
        launches=launches,
        processes=len(trial.repeats[0].hosts) or None if trial.repeats else None,
        measured=_without_intervals(measured) if measured and result.quick else measured,
        no_interval=_no_interval(result, launches) if measured else None,
        efficiency=None,
        baseline=None,
        scaling=None,
        baseline_note=None,
        oversubscribed=caveats.oversubscribed(trial, result.environment.cores),
        suspect=None,
        stopped=trial.stopped,
        warm_up=caveats.warm_up(trial),
        loss_difference=None,
        loss_reference=None,
        compute=precision.compute(trial),
        wire=precision.wire(trial),
        allreduce=precision.allreduce(trial),
        allreduce_evidence=precision.evidence(trial),
        quality=_quality(result, trial) if measured else None,
        verified=next((found for found in result.verification if found.trial_id == trial.trial_id), None),
    )


def _quality(result: Result, trial: TrialResult) -> Quality | None:
    found = quality(trial)
    return without_interval(found) if result.quick else found


def _status(result: Result, trial: TrialResult) -> tuple[Status, str | None]:
    if trial.status != "ok":
        return trial.status, trial.reason or "no reason was recorded"
    errors = [f"launch {repeat.repeat}: {repeat.error}" for repeat in trial.repeats if repeat.error]
    if errors:
        return "failed", errors[0]
    reason = withheld(result, trial)
    return ("withheld", reason) if reason else ("ok", None)


def _no_interval(result: Result, launches: int) -> str | None:
    if launches < LAUNCHES_FOR_INTERVAL:
        return f"no interval: {counted(launches, 'launch', 'launches')}; at least {LAUNCHES_FOR_INTERVAL} are needed"
    return "no interval: a quick run" if result.quick else None


def _with_efficiency(row: Row, trial: TrialResult, result: Result, by_id: dict[str, Row]) -> Row:
    if row.measured is None:
        return row
    if trial.mode == "bare":
        return replace(row, baseline_note="baseline")
    bare, note = compare.baseline(trial, result.trials)
    if bare is None:
        return replace(row, baseline_note=note)
    base = by_id[bare.trial_id]
    if base.measured is None:
        return replace(row, baseline_note=f"the bare run of {trial.framework} has no speed: {base.reason}")
    found = stats.scaling_efficiency(row.measured.launch_rates, base.measured.launch_rates, trial.trial.replicas)
    efficiency = bounded(found, result.quick)
    return replace(
        row,
        efficiency=efficiency,
        baseline=base.trial_id,
        scaling=_scaling(trial.trial, bare.trial),
        suspect=caveats.suspect(efficiency, base.label),
    )


def _scaling(trial: Trial, bare: Trial) -> Literal["weak", "strong"] | None:
    if trial.replicas == 1:
        return None
    return "weak" if bare.workload.batch_per_replica == trial.workload.batch_per_replica else "strong"


def _with_losses(row: Row, trial: TrialResult, group: Sequence[TrialResult]) -> Row:
    """`group`: the trials of equal work."""
    if any(loss is None for repeat in trial.repeats for loss in repeat.losses):
        return replace(row, loss_difference=math.inf)
    exact_first = sorted(group, key=lambda other: (other.trial.compute, other.trial.wire) != ("float32", "float32"))
    reference = next((other for other in exact_first if other.status == "ok" and _losses(other)), None)
    if reference is None or not _losses(trial):
        return row
    first = _losses(reference)[0]
    others = _losses(trial)[1:] if trial is reference else _losses(trial)
    differences = [_relative(losses, first) for losses in others]
    return replace(row, loss_reference=reference.trial_id, loss_difference=max(differences, default=None))


def _losses(trial: TrialResult) -> list[list[float]]:
    """Step losses of each launch that has them, all finite."""
    found = [[loss for loss in repeat.losses if loss is not None] for repeat in trial.repeats]
    return [losses for losses, repeat in zip(found, trial.repeats, strict=True) if losses == repeat.losses != []]


def _relative(losses: Sequence[float], reference: Sequence[float]) -> float:
    """Over the steps that both have; step s sees the same samples whatever the backend."""
    pairs = zip(losses, reference, strict=False)
    return max(stats.relative_difference(one, other) for one, other in pairs)


def bounded(found: Estimate | None, quick: bool) -> Estimate | None:
    """Without its interval in a quick run, whose launches are too short to speak of one."""
    return replace(found, low=None, high=None) if found and quick else found


def _without_intervals(measured: Measured) -> Measured:
    """A quick run's launches are too short to speak of intervals."""
    changed = {
        name: replace(found, low=None, high=None)
        for name in ("samples_per_second", "tokens_real_per_second", "tokens_padded_per_second")
        if (found := getattr(measured, name)) is not None
    }
    return replace(measured, **changed)


def finite(value: float | None) -> float | None:
    """None for what JSON cannot say."""
    return value if value is not None and math.isfinite(value) else None
