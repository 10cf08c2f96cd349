"""The labels that data may have, and whose they are."""

from __future__ import annotations

from typing import NamedTuple

from bench.errors import UserError
from bench.quoting import clipped


class LabelSet(NamedTuple):
    """`labels` in index order; `owner` is the model or the training data, as a sentence names it."""

    owner: str
    labels: tuple[str, ...]

    def check(self, place: str, label: str) -> None:
        """Raises UserError, beginning with `place` (file and line), for a label outside the set."""
        if label not in self.labels:
            known = clipped(", ".join(self.labels))
            raise UserError(f"{place}: the label {label!r} is none of {self.owner}, which are {known}")
