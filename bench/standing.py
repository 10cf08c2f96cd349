"""Where a study stands while it runs: the speed of each trial over its launches so far, and how long the rest takes."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench import assemble, forecast, stats, windows
from bench.errors import TrialError
from bench.records import Plan, Repeat, Trial
from bench.stats import Estimate


@dataclass(slots=True)
class SoFar:
    """One trial. `rates` of its whole launches; `planned` launches in all, which may become more; `guess_s` of one
    launch, from earlier runs if `measured`; `error` of the last one that failed."""

    trial: Trial
    planned: int
    rates: list[float]
    guess_s: float
    measured: bool
    walls_s: list[float] = field(default_factory=list)
    error: str | None = None

    @property
    def estimate(self) -> Estimate | None:
        """The speed over launches, as the report will have it."""
        return stats.over_launches(self.rates)


class Standing:
    """Of the run in a folder. Gates between trials come at the end, so nothing here is a result yet."""

    def __init__(self, run_folder: Path) -> None:
        self._folder = run_folder
        self.planned: Plan = assemble.read_plan(run_folder)
        rates, _ = assemble.so_far(run_folder, self.planned)
        self._open = [one for one in self.planned.order if not assemble.is_whole(run_folder, *one)]
        self.trials = {trial.id: self._so_far(trial, rates[trial.id]) for trial in self.planned.trials}

    def launched(self, trial: Trial, repeat: Repeat) -> float | None:
        """Takes note of a finished launch; its samples per second, None where it has none."""
        own = self.trials[trial.id]
        own.walls_s.append(repeat.wall_ns / 1e9)
        with suppress(ValueError):
            self._open.remove((trial.id, repeat.repeat))
        own.error = repeat.error
        if repeat.error is not None:
            return None
        with suppress(TrialError, OSError):
            rate = windows.rate(self._folder, repeat)
            own.rates += [rate] if rate else []
            return rate
        return None

    def left_s(self, spent_s: float, current_s: float | None) -> tuple[float, bool]:
        """(seconds, whether measured): of the launches that the plan still has. The first of them is under way, has
        taken `spent_s` and will take `current_s` more; None: not known yet."""
        if not self._open:
            return 0.0, True
        (current, _), *others = self._open
        walls = {name: median(one.walls_s) for name, one in self.trials.items() if one.walls_s}
        if current_s is not None:
            walls.setdefault(current, spent_s + current_s)
        # The guesses are wrong together: they know neither this machine nor what else it does.
        factor = median([walls[name] / self.trials[name].guess_s for name in walls]) if walls else 1.0
        for name, one in self.trials.items():
            walls.setdefault(name, one.guess_s if one.measured else one.guess_s * factor)
        first = max(0.0, walls[current] - spent_s) if current_s is None else current_s
        known = all(one.walls_s or one.measured for one in self.trials.values())
        return first + sum(walls[name] for name, _ in others), known

    def _so_far(self, trial: Trial, rates: list[float]) -> SoFar:
        planned = sum(trial_id == trial.id for trial_id, _ in self.planned.order)
        return SoFar(trial, planned, rates, *forecast.launch_s(trial, self._folder.parent))
