"""What must stand beside a number wherever it is shown: too few cores, more than is possible, no steady state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bench import stats
from bench.records import TrialResult
from bench.stats import Estimate
from reports.text import counted

MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Caveat:
    """A word, and a clause that explains it."""

    word: str
    clause: str

    def __str__(self) -> str:
        return f"{self.word}: {self.clause}"


@dataclass(frozen=True, slots=True)
class WarmUp:
    """`windows`: of each launch so many at the start do not count; `unsettled` launches were not steady by then."""

    windows: tuple[int, ...]
    unsettled: tuple[int, ...]


def oversubscribed(result: TrialResult, cores: int) -> Caveat | None:
    """More threads than cores on the fullest host. `cores` of the parent's; the others are taken to be like it."""
    spread = [Counter(repeat.hosts) for repeat in result.repeats if repeat.hosts]
    # A rank may hold several replicas: each rank holds as many as any other.
    share = max((max(hosts.values()) / hosts.total() for hosts in spread), default=1.0)
    replicas, threads = round(result.trial.replicas * share), result.trial.threads_per_replica
    if replicas * threads <= cores:
        return None
    each = f"{counted(replicas, 'replica')} of {counted(threads, 'thread')}"
    return Caveat("oversubscribed", f"{each} on {counted(cores, 'core')}")


def suspect(efficiency: Estimate | None, baseline: str) -> Caveat | None:
    """Above 100 % of `baseline`: that one is slower than it should be, or the work is not the same."""
    if efficiency is None or not stats.is_suspect(efficiency):
        return None
    return Caveat("suspect", f"above 100 % of {baseline}: check that run and the work")


def warm_up(result: TrialResult) -> WarmUp | None:
    """None where no launch came so far."""
    known = [repeat for repeat in result.repeats if repeat.warmup_windows is not None]
    if not known:
        return None
    unsettled = tuple(repeat.repeat for repeat in known if repeat.settled is False)
    return WarmUp(tuple(repeat.warmup_windows or 0 for repeat in known), unsettled)


def unsettled(found: WarmUp | None) -> str | None:
    """A sentence about launches that had not warmed up, or None."""
    whose = missed(found)
    return whose and f"no steady state seen: {whose} may still have been warming up in the windows that count"


def missed(found: WarmUp | None) -> str | None:
    """ "2 of 3 launches" had not warmed up; None: all had, or nobody knows."""
    if found is None or not found.unsettled:
        return None
    count, launches = len(found.unsettled), len(found.windows)
    return counted(launches, "launch", "launches") if count == launches else f"{count} of {launches} launches"


def among(labelled: Sequence[tuple[str, Sequence[Caveat]]]) -> list[Caveat]:
    """One of each word, whose clause names all that it concerns."""
    concerned: dict[Caveat, list[str]] = {}
    for label, caveats in labelled:
        for caveat in caveats:
            concerned.setdefault(caveat, []).append(label)
    clauses: dict[str, list[str]] = {}
    for caveat, labels in concerned.items():
        clauses.setdefault(caveat.word, []).append(f"{_named(labels)}: {caveat.clause}")
    return [Caveat(word, "; ".join(said)) for word, said in clauses.items()]


def _named(labels: Sequence[str]) -> str:
    rest = len(labels) - MOST_NAMED
    return ", ".join(labels) if rest <= 1 else f"{', '.join(labels[:MOST_NAMED])} and {rest} more"
