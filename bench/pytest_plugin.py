"""The pytest fixture `paceline_benchmark`: a trial, launched for real, as one benchmark of pytest-benchmark.

    def test_bert_step(paceline_benchmark):
        paceline_benchmark("studies/ci.yaml", backend="torch_ddp")

Loaded by pytest in every session of an environment that has paceline, so nothing heavy is imported before its use.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from bench.records import Trial
    from bench.stats import Estimate
    from bench.study import Study
    from reports.load import LoadedRun
    from reports.table import Row


class _VirtualClock:
    """pytest-benchmark times calls by its timer; here a call moves the timer by what a rank has measured."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def timer(self) -> float:
        return self._now_s

    def advance(self, seconds: float) -> None:
        self._now_s += seconds


class PacelineBenchmark:
    """Call it once per test. Fails the test with one sentence where there is no speed to compare."""

    def __init__(self, root: Path, clock: _VirtualClock, benchmark: Any) -> None:
        self._root, self._clock, self._benchmark = root, clock, benchmark

    def __call__(
        self, study: str | Path, backend: str | None = None, repeats: int | None = None, runs: str | Path = "runs"
    ) -> Estimate:
        """Launches the one trial of `study` (of `backend`, where it has several) as often as the study, or
        `repeats`, says; run folders go below `runs`. Paths are relative to pytest's root folder.

        Every window becomes one round, in seconds per sample of the whole job, slowest rank. extra_info["paceline"]
        has the interval, whose unit is the launch, and the fingerprint. With --benchmark-disable: one quick launch.
        Returns the samples per second.
        """
        from bench.errors import UserError

        try:
            return self._measure(self._root / study, backend, repeats, self._root / runs)
        except UserError as error:
            pytest.fail(f"paceline: {error}", pytrace=False)

    def _measure(self, study: Path, backend: str | None, repeats: int | None, runs: Path) -> Estimate:
        from bench import run
        from bench.launch.commands import Cluster
        from reports import load, table

        chosen = _one_trial(study, backend, repeats)
        folder = run.begin(chosen, runs, self._benchmark.disabled, Cluster(), run.Observer())
        run.proceed(folder.resolve(), run.Observer())
        loaded = load.load(folder)
        row = table.rows(loaded)[0]
        if row.measured is None:
            pytest.fail(f"paceline: {row.label} has no speed: {row.reason} ({folder})", pytrace=False)
        self._benchmark.extra_info["paceline"] = _extra(folder, loaded, row)
        seconds = _seconds_per_sample(loaded)
        following = iter(seconds)
        self._benchmark.pedantic(lambda: self._clock.advance(next(following)), rounds=len(seconds), iterations=1)
        return row.measured.samples_per_second


@pytest.fixture
def paceline_benchmark(request: pytest.FixtureRequest) -> PacelineBenchmark:
    """Launch one trial of a study and hand its times to pytest-benchmark; see bench.pytest_plugin."""
    clock = _VirtualClock()
    request.node.add_marker(pytest.mark.benchmark(timer=clock.timer))
    try:
        benchmark = request.getfixturevalue("benchmark")
    except pytest.FixtureLookupError:
        pytest.fail("paceline_benchmark needs pytest-benchmark: pip install pytest-benchmark", pytrace=False)
    return PacelineBenchmark(request.config.rootpath, clock, benchmark)


def _one_trial(path: Path, backend: str | None, repeats: int | None) -> Study:
    """The study with that trial alone, without its bare runs unless one is meant. Raises UserError."""
    import msgspec

    from bench import study
    from bench.errors import UserError

    found = study.load(path)
    wanted = _matching(backend)
    trials = [trial for trial in found.trials if wanted(trial)]
    if len(trials) != 1:
        reasons = [f"{other.trial.backend}: {other.reason}" for other in found.rejected if wanted(other.trial)]
        ids = ", ".join(trial.id for trial in trials) or "none" + "".join(f"; {reason}" for reason in reasons)
        raise UserError(f"{path}: one trial{f' of {backend}' if backend else ''} is needed, and there are {ids}")
    header = found.header if repeats is None else msgspec.structs.replace(found.header, repeats=repeats)
    return msgspec.structs.replace(found, header=header, trials=trials, rejected=[])


def _matching(backend: str | None) -> Callable[[Trial], bool]:
    from bench import catalog

    if backend is not None:
        catalog.entry(backend)
        return lambda trial: trial.backend == backend
    return lambda trial: catalog.entry(trial.backend).max_replicas != 1


def _seconds_per_sample(loaded: LoadedRun) -> Sequence[float]:
    """One per window of every launch, in order."""
    from reports import measure

    launches = measure.counted(loaded.result.trials[0], loaded.windows)
    return [value for pace in map(measure.pace, launches) for value in (pace.duration_ns / 1e9 / pace.samples).tolist()]


def _extra(folder: Path, loaded: LoadedRun, row: Row) -> dict[str, Any]:
    """JSON values. `interval` bounds samples_per_second; None below three launches, or of a quick run."""
    from bench import baselines
    from reports.across import circumstances

    assert row.measured is not None
    rate = row.measured.samples_per_second
    found = circumstances.fingerprint(loaded.result.trials[0], loaded.result.environment)
    return {
        "trial_id": row.trial_id,
        "replicas": row.trial.replicas,
        "model": row.trial.workload.model,
        "batch_per_replica": row.trial.workload.batch_per_replica,
        "run": str(folder),
        "samples_per_second": rate.point,
        "interval": None if rate.low is None else [rate.low, rate.high],
        "launches": rate.launches,
        "launch_rates": list(row.measured.launch_rates),
        "fingerprint_id": baselines.identify(found),
        "fingerprint": found,
    }
