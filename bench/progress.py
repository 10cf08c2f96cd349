"""What a person sees while a study runs: a live view on a terminal, a line a launch elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live

from bench.following import Following
from bench.launch import commands
from bench.live_view import Now, labels, view
from bench.records import Repeat, Trial
from bench.run import Observer
from bench.standing import Standing
from reports.text import interval, number, one_line


class Watcher(Observer):
    """Keeps the standing of the study. A context manager."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self._began = clock()
        self._standing: Standing | None = None
        self._labels: dict[str, str] = {}
        self._now: Now | None = None
        self._total = 0

    def __enter__(self) -> Watcher:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def launching(self, number: int, total: int, trial: Trial, repeat: int, folder: Path) -> None:
        if self._standing is None or total != self._total:
            before, self._standing, self._total = self._standing, Standing(folder.parents[1]), total
            for name, one in before.trials.items() if before else ():
                self._standing.trials[name].error, self._standing.trials[name].walls_s = one.error, one.walls_s
            self._labels = labels(self._standing.planned.trials)
        following = Following(folder, commands.ranks(trial)[0], trial.timing)
        self._now = Now(number, total, trial.id, repeat, following, self._began, self._clock())

    def launched(self, trial: Trial, repeat: Repeat) -> None:
        rate = self._standing.launched(trial, repeat) if self._standing else None
        place = f"launch {self._now.number} of {self._now.total}: " if self._now else ""
        self._finished(f"{place}{self._labels.get(trial.id, trial.id)}", trial, repeat, rate)

    def _finished(self, name: str, trial: Trial, repeat: Repeat, rate: float | None) -> None: ...


class TerminalObserver(Watcher):
    """Redraws once a second while a launch runs, and leaves nothing behind but the sentences of failed launches."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        # What a command prints on a redirected standard output must go there.
        self._live = Live(
            console=console, auto_refresh=False, transient=True, vertical_overflow="crop",
            redirect_stdout=sys.stdout.isatty(),
        )  # fmt: skip
        self._width = console.width

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def preparing(self, sentence: str) -> None:
        self._console.print(f"  {one_line(sentence)}", style="dim", markup=False, highlight=False)

    def launching(self, number: int, total: int, trial: Trial, repeat: int, folder: Path) -> None:
        super().launching(number, total, trial, repeat, folder)
        self._live.start()
        self._draw()

    def tick(self) -> None:
        if self._now is not None:
            self._now.following.look()
            self._draw()

    def _finished(self, name: str, trial: Trial, repeat: Repeat, rate: float | None) -> None:
        if repeat.error:
            self._console.print(f"  {name}: {one_line(repeat.error)}", markup=False, highlight=False, style="red")
        self._draw()

    def _draw(self) -> None:
        if self._standing is None or self._now is None:
            return
        width, height = self._console.size
        if width < self._width:
            # The terminal has folded the lines drawn before, so nobody knows how many they are now.
            self._live.stop()
            self._console.clear()
            self._live.start()
        self._width = width
        lines = view(self._standing, self._labels, self._now, self._clock(), (width, height))
        self._live.update(Group(*lines), refresh=True)


class LineObserver(Watcher):
    """One line a launch, without any escape code."""

    def preparing(self, sentence: str) -> None:
        self._say(sentence)

    def _finished(self, name: str, trial: Trial, repeat: Repeat, rate: float | None) -> None:
        if repeat.error:
            self._say(f"{name}: {repeat.error}")
            return
        found = self._standing.trials[trial.id].estimate if self._standing else None
        around = interval(found)
        so_far = f"; over {found.launches} launches {number(found.point)} ({around})" if found and around else ""
        speed = f"{number(rate)} samples/s" if rate else "no speed"
        self._say(f"{name}: {speed} in {repeat.wall_ns / 1e9:.1f} s{so_far}")

    def _say(self, sentence: str) -> None:
        self._console.print(
            f"{time.strftime('%H:%M:%S')} {one_line(sentence)}", markup=False, highlight=False, soft_wrap=True
        )
