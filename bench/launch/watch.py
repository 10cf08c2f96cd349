"""Looks at a running launch from outside: has a rank failed, does everything stand still, and who is behind?"""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench import journal, stacks
from bench.errors import TrialError
from bench.launch.deadlines import WINDOW_FLOOR_S, deadline_s
from bench.records import Line, Phase, RankInfo, Trial, Window

STACKS_S = stacks.CHECK_S + 3.0  # how long the ranks get to leave their stacks
CONTINUED_S = 2.0  # and one that was stopped, for the signal that waits for it
ORDER = (None, "start", "build", "warmup", "windows", "finish", "stop", "end")


@dataclass(slots=True)
class Watch:
    """One launch's ranks, by the files that they write. `patience` is the study's factor on every deadline; `here` are
    the names of hosts whose processes can be seen from this one; `gone` the ranks that were the first to be seen gone
    without a last word."""

    folder: Path
    ranks: int
    trial: Trial
    patience: float
    here: frozenset[str] = field(default_factory=lambda: frozenset({socket.gethostname()}))
    clock: Callable[[], float] = time.monotonic
    gone: tuple[int, ...] = ()
    _sizes: tuple[int, ...] = ()
    _moved: float = field(default=0.0)

    def __post_init__(self) -> None:
        self._moved = self.clock()

    def has_failed(self) -> bool:
        """True when a rank said that it failed, or its process is gone from this host without a last word."""
        said = {rank for rank in range(self.ranks) if (self.folder / f"rank-{rank}.error").exists()}
        gone = tuple(rank for rank in range(self.ranks) if rank not in said and self._is_gone(rank))
        self.gone = self.gone or gone
        return bool(said or gone)

    def _is_gone(self, rank: int) -> bool:
        # a zombie, which has ended and only its launcher has not taken note, has no command line
        return self._info(rank) is not None and self._process(rank) is None and not self._has_ended(rank)

    def has_ended(self) -> bool:
        """True when every rank has written its last line."""
        return all(self._has_ended(rank) for rank in range(self.ranks))

    def hung(self) -> str | None:
        """The sentence when no rank has written anything for longer than its phase allows; saves every rank's stacks.

        Ranks wait for one another, so that soon after one has stopped all stand still.
        """
        sizes = tuple(self._size(rank) for rank in range(self.ranks))
        if sizes != self._sizes:
            self._sizes, self._moved = sizes, self.clock()
            return None
        idle_s = self.clock() - self._moved
        if idle_s < WINDOW_FLOOR_S * self.patience:  # no phase is given less
            return None
        lines = [self._lines(rank) for rank in range(self.ranks)]
        phases = [journal.last_phase(of_rank) for of_rank in lines]
        phase = min(phases, key=ORDER.index)
        windows = [line.duration_ns for line in lines[0] if isinstance(line, Window)]
        if idle_s <= deadline_s(self.trial, phase, windows, self.patience):
            return None
        if phase == "end":
            return f"every rank has finished, and the launcher still runs after {idle_s:.0f} s"
        where = f"hung: nothing was written for {idle_s:.0f} s"
        return f"{where}; {self._blame(lines, phases)}"

    def _blame(self, lines: list[list[Line]], phases: list[str | None]) -> str:
        """Who did not arrive: a rank that does not respond, else the one that wrote least, else where all stand."""
        silent = self.save_stacks()
        absent = [rank for rank in range(self.ranks) if not lines[rank]]
        if absent:
            return f"rank {absent[0]} never arrived"
        hosts = [info.host for of_rank in lines if isinstance(info := of_rank[0], RankInfo)]
        stands = [self._where(rank) for rank in range(self.ranks)]
        if silent and len(silent) < self.ranks:
            rank, state = next(iter(silent.items()))
            at = f" at {stands[rank]}" if stands[rank] else ""
            return f"rank {rank} does not respond{state} in {phases[rank]}{at}; the others wait for it"
        least = min(map(len, lines))
        behind = [rank for rank in range(self.ranks) if len(lines[rank]) == least]
        if len(behind) == self.ranks:
            behind = [rank for rank in range(self.ranks) if not stacks.waits(self._stacks(rank))]
        if 0 < len(behind) < self.ranks:
            rank = behind[0]
            link = f", or a link of {hosts[rank]} is cut" if len(set(hosts)) > 1 else ""
            return f"rank {rank} did not arrive: in {phases[rank]} at {stands[rank]}; the others wait for it{link}"
        places = ", ".join(f"rank {rank} in {phases[rank]} at {at}" for rank, at in enumerate(stands))
        if len(set(hosts)) > 1 and not silent:
            between = ", ".join(sorted(set(hosts)))
            places = f"all ranks respond and wait, as when a link between {between} is cut: {places}"
        return f"{places} (stacks: {self.folder}/rank-*.stack)"

    def save_stacks(self) -> dict[int, str]:
        """Leaves every rank's beside its log. Returns those that arrived and do not respond, each with what the system
        says of it, such as " (process stopped)". One that is stopped is then let go on, so that it leaves its own: for
        a launch that is about to be ended."""
        stacks.request_file(self.folder).touch()
        arrived = {rank for rank in range(self.ranks) if self._size(rank)}
        halted = {rank for rank in arrived if "stopped" in self._state(rank)}
        self._signal(arrived, stacks.SIGNAL)
        self._await_stacks(arrived - halted, STACKS_S)
        silent = {rank: self._state(rank) for rank in sorted(arrived) if self._where(rank) is None}
        self._signal(halted, signal.SIGCONT)
        self._await_stacks(halted, CONTINUED_S)
        return silent

    def _signal(self, ranks: Iterable[int], number: signal.Signals) -> None:
        for rank in ranks:
            process = self._process(rank)
            if process is not None:
                with suppress(psutil.Error):
                    process.send_signal(number)

    def _await_stacks(self, ranks: Iterable[int], longest_s: float) -> None:
        until = self.clock() + longest_s
        while self.clock() < until and any(self._where(rank) is None for rank in ranks):
            time.sleep(0.1)

    def _where(self, rank: int) -> str | None:
        return stacks.innermost(self._stacks(rank))

    def _stacks(self, rank: int) -> str:
        try:
            return stacks.stack_file(self.folder, rank).read_text(errors="replace")
        except OSError:
            return ""

    def _state(self, rank: int) -> str:
        """ " (process stopped)" and the like, where the system tells."""
        process = self._process(rank)
        try:
            return "" if process is None else f" (process {process.status()})"
        except psutil.Error:
            return ""

    def _process(self, rank: int) -> psutil.Process | None:
        """A rank's own on this host. None where there is none, or another's has the number that it had."""
        info = self._info(rank)
        try:
            found = psutil.Process(info.pid) if info else None
            return found if found and str(self.folder) in found.cmdline() else None
        except psutil.Error:
            return None

    def _info(self, rank: int) -> RankInfo | None:
        """Of a rank whose processes can be seen from here, None where it has not started or runs elsewhere."""
        try:
            with (self.folder / f"rank-{rank}.jsonl").open("rb") as lines:
                info = journal.decode_line(lines.readline())
        except (OSError, TrialError):
            return None
        return info if isinstance(info, RankInfo) and info.host in self.here else None

    def _size(self, rank: int) -> int:
        try:
            return (self.folder / f"rank-{rank}.jsonl").stat().st_size
        except OSError:
            return 0

    def _lines(self, rank: int) -> list[Line]:
        with suppress(TrialError):
            return journal.read(self.folder, rank)
        return []

    def _has_ended(self, rank: int) -> bool:
        lines = self._lines(rank)
        return bool(lines) and isinstance(lines[-1], Phase) and lines[-1].name == "end"
