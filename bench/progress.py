"""Progress on a terminal while a study runs; silent elsewhere. Reads what ranks have written, asks them nothing."""

from __future__ import annotations

import time
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bench.records import Repeat, Trial
from bench.run import Observer


class TerminalObserver(Observer):
    """One bar for the study, one for the windows of the launch under way. A context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TextColumn("{task.fields[note]}"))
        self._progress = Progress(
            *columns, TimeRemainingColumn(), console=console, refresh_per_second=1, transient=True
        )
        self._study: TaskID | None = None
        self._windows: TaskID | None = None
        self._folder: Path | None = None
        self._offset = self._lines = 0

    def __enter__(self) -> TerminalObserver:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def preparing(self, sentence: str) -> None:
        self._console.print(f"  {sentence}", style="dim", markup=False, highlight=False)

    def launching(self, number: int, total: int, trial: Trial, repeat: int, folder: Path) -> None:
        if self._study is None:
            self._study = self._progress.add_task("study", total=total, note="")
        self._progress.update(self._study, completed=number - 1, note=f"launch {number} of {total}")
        windows = 1 + trial.timing.warmup_windows + trial.timing.windows
        self._windows = self._progress.add_task(escape(f"{trial.id}, repeat {repeat}"), total=windows, note="")
        self._folder, self._offset, self._lines = folder, 0, 0

    def tick(self) -> None:
        """Counts the windows that rank 0 has finished: reads only what was added since the last look."""
        if self._folder is None or self._windows is None:
            return
        try:
            with (self._folder / "rank-0.jsonl").open("rb") as journal:
                journal.seek(self._offset)
                added = journal.read()
        except OSError:
            return
        self._offset += len(added)
        self._lines += added.count(b'"type":"window"')
        self._progress.update(self._windows, completed=self._lines, note=f"{self._lines} windows")

    def launched(self, trial: Trial, repeat: Repeat) -> None:
        if self._windows is not None:
            self._progress.remove_task(self._windows)
        if self._study is not None:
            self._progress.advance(self._study)
        if repeat.error:
            self._console.print(f"  {trial.id}, repeat {repeat.repeat}: {repeat.error}", markup=False, style="red")


class LineObserver(Observer):
    """One line a launch, for logs (`--verbose` without a terminal)."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def preparing(self, sentence: str) -> None:
        self._say(sentence)

    def launched(self, trial: Trial, repeat: Repeat) -> None:
        self._say(f"{trial.id} repeat {repeat.repeat}: {repeat.error or f'{repeat.wall_ns / 1e9:.1f} s'}")

    def _say(self, sentence: str) -> None:
        self._console.print(f"{time.strftime('%H:%M:%S')} {sentence}", markup=False, highlight=False, soft_wrap=True)
