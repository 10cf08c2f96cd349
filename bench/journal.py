"""rank-N.jsonl: one record a line, appended as it happens. Written by a rank, read by the parent, also half way."""

from __future__ import annotations

import hashlib
import os
import threading
import traceback
from pathlib import Path
from types import TracebackType

import msgspec

from bench.errors import TrialError
from bench.records import SCHEMA, Line, Phase, RankInfo, Record

_DECODER = msgspec.json.Decoder(Line)


class RankError(Record, frozen=True, kw_only=True):
    """`rank-N.error`: the sentence for the row, and the traceback for the curious.

    `ended_by` is the signal's name where the rank was told to end; it then did nothing wrong itself.
    """

    rank: int
    phase: str
    kind: str
    sentence: str
    traceback: str
    ended_by: str | None = None

    @classmethod
    def of(cls, error: BaseException, rank: int, phase: str) -> RankError:
        """The sentence is a TrialError's own, else type and first telling line of the message."""
        telling = _telling_line(str(error))
        sentence = telling if isinstance(error, TrialError) else f"{type(error).__name__}: {telling}"
        return cls(
            rank=rank,
            phase=phase,
            kind=type(error).__name__,
            sentence=sentence[:2_000],
            traceback=traceback.format_exc()[-50_000:],
        )


def _telling_line(message: str) -> str:
    """The first, but for TensorFlow's "Graph execution error:", after which comes where in the graph, and then what."""
    first, *others = message.strip().splitlines() or [""]
    if not first.endswith(":"):
        return first
    return next((line for line in others if line[:1].strip() and not line.startswith(("Detected at", "Node:"))), first)


class Journal:
    """Appends; every line is one write, so a reader sees whole lines but for the last of a killed rank, or of one whose
    disk is full."""

    def __init__(self, folder: Path, rank: int) -> None:
        self.folder, self._rank = folder, rank
        self._descriptor = os.open(folder / f"rank-{rank}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.phase = "start"
        self._failing = threading.Lock()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._descriptor)

    def write(self, line: Line) -> None:
        """Appends one record and remembers the phase it announces."""
        if isinstance(line, Phase):
            self.phase = line.name
        left = memoryview(msgspec.json.encode(line) + b"\n")
        while left:  # a disk that is all but full takes a part, and says so only when it is given the rest
            left = left[os.write(self._descriptor, left) :]

    def fail(self, error: RankError) -> None:
        """Leaves the reason beside the journal, the first one only: what follows is a consequence."""
        path = self.folder / f"rank-{self._rank}.error"
        # a rank that lost its connection is told to end in the same moment, which another thread hears: it must not
        # end the process between the two halves of this
        with self._failing:
            if not path.exists():
                path.write_bytes(msgspec.json.encode(error))

    def ended_by(self, signal_name: str) -> None:
        """Notes that this rank was told to end."""
        sentence = f"ended by {signal_name}"
        self.fail(
            RankError(rank=self._rank, phase=self.phase, kind="", sentence=sentence, traceback="", ended_by=signal_name)
        )


def decode_line(text: bytes) -> Line:
    """One line as a record. Raises TrialError for half a line or anything else."""
    try:
        line: Line = _DECODER.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TrialError(str(error)) from None
    return line


def read(folder: Path, rank: int) -> list[Line]:
    """All whole lines of one rank, [] where it never wrote. A last line without its end is a killed rank's: dropped.

    Raises TrialError for a line that is not a record, or a file of another schema.
    """
    path = folder / f"rank-{rank}.jsonl"
    if not path.exists():
        return []
    lines: list[Line] = []
    for number, text in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            lines.append(decode_line(text))
        except TrialError as error:
            raise TrialError(f"{path.name} line {number} is damaged: {error}") from None
        first = lines[0]
        if isinstance(first, RankInfo) and first.schema != SCHEMA:
            raise TrialError(f"{path.name} has schema {first.schema}, this paceline reads {SCHEMA}")
    return lines


def digest(folder: Path, rank: int) -> str | None:
    """SHA-256 of a rank's file, None where it is gone."""
    try:
        with (folder / f"rank-{rank}.jsonl").open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def read_error(folder: Path, rank: int) -> RankError | None:
    """What the rank said when it failed, None where it said nothing (killed, or well)."""
    path = folder / f"rank-{rank}.error"
    try:
        return msgspec.json.decode(path.read_bytes(), type=RankError)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def failed_at_ns(folder: Path, rank: int) -> int:
    """When a rank that left an error left it, for the order of errors of one launch."""
    return (folder / f"rank-{rank}.error").stat().st_mtime_ns


def last_phase(lines: list[Line]) -> str | None:
    """The phase a rank was in when it wrote last, None where it never started."""
    phases = [line.name for line in lines if isinstance(line, Phase)]
    return phases[-1] if phases else None
