"""What `paceline trace` leaves: traces.json of a trial. Part of the file format; import it from bench.records."""

from __future__ import annotations

from statistics import median

from bench.trial import Record


class RankTrace(Record, frozen=True, kw_only=True):
    """The traced windows of one rank, all together; times are sums over their `steps`.

    communication_ns   when gradients were exchanged: the length of the union of these spans. None: this rank's tools do
                       not tell
    exposed_ns         the part of that in which nothing was computed: union of communication minus union of compute
    compute_ns         length of the union of the framework's operations
    source             which tools saw it, and what is communication for them
    """

    rank: int
    host: str
    source: str
    steps: int
    duration_ns: int
    communication_ns: int | None
    exposed_ns: int | None
    compute_ns: int

    @property
    def overlap(self) -> float | None:
        """1 - exposed / communication; None where there was none to hide."""
        if not self.communication_ns or self.exposed_ns is None:
            return None
        return 1 - self.exposed_ns / self.communication_ns


class Traced(Record, frozen=True, kw_only=True):
    """One trial, traced in a launch of its own. `error`: the sentence of its failure, and then nothing else is known.

    untraced_ns, traced_ns   windows of the same length that took turns in that launch, each of its slowest rank
    """

    trial_id: str
    created_utc: str
    command: list[str]
    error: str | None
    steps_per_window: int
    untraced_ns: list[int]
    traced_ns: list[int]
    ranks: list[RankTrace]
    schema: int

    @property
    def slow_down(self) -> float | None:
        """What tracing does to the speed: the median over the pairs of traced / untraced."""
        ratios = [traced / untraced for untraced, traced in zip(self.untraced_ns, self.traced_ns, strict=True)]
        return median(ratios) if ratios else None
