"""Why a launch failed: one sentence, about the rank that is to blame, from what ranks and launcher left behind."""

from __future__ import annotations

from pathlib import Path

from bench import journal
from bench.errors import TrialError
from bench.launch.execute import Ended
from bench.records import Line


def why(folder: Path, lines: list[list[Line]], ended: Ended) -> str | None:
    """The sentence of the row, None when all is whole. Who is to blame, in this order: a rank that said what went
    wrong with itself; a rank that went without a word, the first where that was seen, else all of them; a rank that
    never came; of those that lost their connection or were told to end the first."""
    errors = [error for rank in range(len(lines)) if (error := journal.read_error(folder, rank))]
    said = {error.rank for error in errors}
    unfinished = [rank for rank, of_rank in enumerate(lines) if journal.last_phase(of_rank) != "end"]
    silent = [rank for rank in unfinished if rank not in said and lines[rank]]
    never = [rank for rank in unfinished if rank not in said and not lines[rank]]
    own = [error for error in errors if not _is_consequence(error)]
    if own:
        return _said(folder, min(own, key=lambda error: journal.failed_at_ns(folder, error.rank)))
    if ended.overdue:
        where = ", ".join(f"rank {rank} in {journal.last_phase(lines[rank]) or 'no phase yet'}" for rank in unfinished)
        return f"{ended.overdue}: {where}"
    if silent:
        first = [rank for rank in silent if rank in ended.gone] or silent
        died = " and ".join(f"rank {rank} died in {journal.last_phase(lines[rank])}" for rank in first)
        return f"{died} without a word (log: {folder / f'log-{first[0]}.txt'})"
    if never:
        who = "no rank" if len(never) == len(lines) else f"rank {never[0]} never"
        said_last = _last_line(folder / "launcher.txt")
        log = folder / "launcher.txt"
        return f"{who} started: the launcher ended with exit status {ended.returncode}: {said_last} (log: {log})"
    if errors:
        return _said(folder, min(errors, key=lambda error: journal.failed_at_ns(folder, error.rank)))
    return (
        f"all ranks finished, but the launcher ended with exit status {ended.returncode}" if ended.returncode else None
    )


def _said(folder: Path, error: journal.RankError) -> str:
    return f"rank {error.rank} failed in {error.phase}: {error.sentence} (log: {folder / f'log-{error.rank}.txt'})"


def _is_consequence(error: journal.RankError) -> bool:
    """What a rank says when it was told to end, or when another one went away: not its own fault."""
    if error.ended_by is not None or error.kind == "HorovodInternalError":
        return True
    words = ("connection", "another rank has gone", "horovod has been shut down", "broken pipe", "socket closed")
    return error.kind != TrialError.__name__ and any(word in error.sentence.lower() for word in words)


def _last_line(path: Path) -> str:
    """A rank's own sentence if one is in the launcher's output, else what ssh says of a host, else the last line."""
    try:
        text = path.read_bytes()[-10_000:].decode("utf-8", "replace")
    except OSError:
        return "it printed nothing"
    said = [line.strip() for line in text.splitlines() if line.strip()]
    own = [line.partition("paceline: ")[2] for line in said if "paceline: " in line]
    of_hosts = [line for line in said if line.startswith("ssh: ")]
    return (own or of_hosts or said or ["it printed nothing"])[-1][:500]
