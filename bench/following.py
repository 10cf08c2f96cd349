"""What a running launch has written so far: reads only what was added since the last look, and asks no rank."""

from __future__ import annotations

from pathlib import Path

from bench import journal, stats
from bench.errors import TrialError
from bench.records import Phase, Timing, Window
from bench.windows import FIRST_STEP

FOLLOWED = 64  # ranks; of a launch with more only rank 0 is looked at, and its speed is not known before its end
_TOLD = (b'{"type":"window"', b'{"type":"phase"')  # other lines can be large, and say nothing here


class Following:
    """One launch. `phase` and `windows` are rank 0's, the window of the first step among them; None: not started."""

    def __init__(self, folder: Path, ranks: int, timing: Timing) -> None:
        self._folder, self._ranks = folder, ranks
        self._first = FIRST_STEP + timing.warmup_windows
        self._seen = [0] * (ranks if ranks <= FOLLOWED else 1)
        self._waiting: dict[int, list[Window]] = {}
        self._samples = self._duration_ns = self._spent_ns = 0
        self.total = self._first + timing.windows
        self.windows = 0
        self.phase: str | None = None

    def look(self) -> None:
        """Takes note of what was added."""
        for rank, seen in enumerate(self._seen):
            for line in self._added(rank, seen):
                if line.startswith(_TOLD):
                    self._note(rank, line)

    @property
    def rate(self) -> float | None:
        """Samples per second of the whole job, over the windows after the warm-up asked for that all ranks have left
        behind. None before the first, and where not all ranks are followed."""
        return stats.throughput([self._samples], [self._duration_ns])

    @property
    def left_s(self) -> float | None:
        """What the windows to come will take, by those that rank 0 has left behind, local ones among them; the first
        step, with its compilation, tells nothing. None before the second."""
        known = self.windows - FIRST_STEP
        return max(0, self.total - self.windows) * self._spent_ns / known / 1e9 if known > 0 else None

    def _added(self, rank: int, seen: int) -> list[bytes]:
        try:
            with (self._folder / f"rank-{rank}.jsonl").open("rb") as file:
                file.seek(seen)
                added = file.read()
        except OSError:
            return []
        *whole, rest = added.split(b"\n")
        self._seen[rank] += len(added) - len(rest)
        return whole

    def _note(self, rank: int, text: bytes) -> None:
        try:
            line = journal.decode_line(text)
        except TrialError:
            return
        if isinstance(line, Phase) and rank == 0:
            self.phase = line.name
        elif isinstance(line, Window):
            self._spent_ns += line.duration_ns if rank == 0 and line.index >= FIRST_STEP else 0
            self.windows += rank == 0 and line.exchange
            self._add(line)

    def _add(self, window: Window) -> None:
        if window.index < self._first or not window.exchange or self._ranks > FOLLOWED:
            return
        of_ranks = self._waiting.setdefault(window.index, [])
        of_ranks.append(window)
        if len(of_ranks) == self._ranks:
            job = stats.pace(
                *([getattr(one, name) for one in of_ranks] for name in ("index", "samples", "duration_ns"))
            )
            self._samples += int(job.samples[0])
            self._duration_ns += int(job.duration_ns[0])
            del self._waiting[window.index]
