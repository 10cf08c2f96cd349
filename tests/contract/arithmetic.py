"""The contract's formulas, in float64 and without a framework: of one tensor, or by (replica, name) of all.

Every rule takes what the live backend had before a step and the gradient that its optimizer saw, and gives what must
be there after it. test_arithmetic.py compares them with numbers made by hand and, where PyTorch is installed, with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from bench.records import LossScale, Optimizer

Values = dict[tuple[int, str], np.ndarray]

ADAFACTOR_DECAY, ADAFACTOR_SMALLEST, ADAFACTOR_SMALLEST_SCALE = -0.8, 1e-15, 1e-3
CLIP_EPSILON = 1e-6


def decay_of(name: str, settings: Optimizer) -> float:
    """Weight decay: none on biases and LayerNorm weights."""
    return 0.0 if name.endswith("bias") or "LayerNorm" in name else settings.weight_decay


def wide(value: np.ndarray) -> np.ndarray:
    """In float64."""
    return value.astype(np.float64)


def norm(values: Iterable[np.ndarray]) -> float:
    """L2, over all elements of all tensors."""
    return float(np.sqrt(sum(np.sum(wide(value) ** 2) for value in values)))


# ---- one tensor: the weight after a step ------------------------------------------------------------------------


@dataclass
class Rule:
    """One tensor's updates, in the order of its steps. `rate`: that of the step (Optimizer.learning_rate_at)."""

    name: str
    settings: Optimizer
    steps: int = 0
    moments: dict[str, np.ndarray] = field(default_factory=dict)

    def updated(self, weight: np.ndarray, gradient: np.ndarray, rate: float) -> np.ndarray:
        """The weight after one more step."""
        self.steps += 1
        rules = {"adamw": self._adamw, "sgd": self._sgd, "lamb": self._lamb, "adafactor": self._adafactor}
        return rules[self.settings.name](wide(weight), wide(gradient), rate)

    @property
    def _decay(self) -> float:
        return decay_of(self.name, self.settings)

    def _mean(self, which: str, value: np.ndarray, share: float) -> np.ndarray:
        """The moving mean called `which`, of which the newest value makes up `share`; it begins at 0."""
        before = self.moments.get(which, np.zeros_like(value))
        self.moments[which] = before + share * (value - before)
        return self.moments[which]

    def _corrected_moments(self, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Kingma and Ba's first and second moment without their bias (arXiv:1412.6980, algorithm 1)."""
        betas = (self.settings.beta_1, self.settings.beta_2)
        first = self._mean("first", gradient, 1 - betas[0]) / (1 - betas[0] ** self.steps)
        return first, self._mean("second", gradient**2, 1 - betas[1]) / (1 - betas[1] ** self.steps)

    def _adamw(self, weight: np.ndarray, gradient: np.ndarray, rate: float) -> np.ndarray:
        """Loshchilov and Hutter's; epsilon is added to the root of the corrected moment, as in torch.optim.AdamW."""
        first, second = self._corrected_moments(gradient)
        return weight * (1 - rate * self._decay) - rate * first / (np.sqrt(second) + self.settings.epsilon)

    def _sgd(self, weight: np.ndarray, gradient: np.ndarray, rate: float) -> np.ndarray:
        """Momentum as in torch.optim.SGD, v = momentum * v + g, and the decay beside it, not in it."""
        self.moments["velocity"] = self.settings.momentum * self.moments.get("velocity", 0.0) + gradient
        return weight * (1 - rate * self._decay) - rate * self.moments["velocity"]

    def _lamb(self, weight: np.ndarray, gradient: np.ndarray, rate: float) -> np.ndarray:
        """You et al., arXiv:1904.00962, algorithm 2, with phi(x) = x and no bounds on the trust ratio."""
        first, second = self._corrected_moments(gradient)
        direction = first / (np.sqrt(second) + self.settings.epsilon) + self._decay * weight
        sizes = norm([weight]), norm([direction])
        trust = sizes[0] / sizes[1] if min(sizes) > 0 else 1.0
        return weight - rate * trust * direction

    def _adafactor(self, weight: np.ndarray, gradient: np.ndarray, rate: float) -> np.ndarray:
        """Shazeer and Stern, arXiv:1804.04235, algorithms 4 and 5 as torch.optim.Adafactor has them, d = 1.

        Of tensors with several axes the second moment is kept as the means over the last axis and over the one before.
        """
        share = self.steps**ADAFACTOR_DECAY
        if gradient.ndim > 1:
            row = self._mean("row", np.mean(gradient**2, axis=-1, keepdims=True), share)
            column = self._mean("column", np.mean(gradient**2, axis=-2, keepdims=True), share)
            second = row * column / np.maximum(np.mean(row, axis=-2, keepdims=True), ADAFACTOR_SMALLEST)
        else:
            second = self._mean("second", gradient**2, share)
        update = gradient / np.sqrt(np.maximum(second, ADAFACTOR_SMALLEST**2))
        size = max(ADAFACTOR_SMALLEST_SCALE, norm([weight]) / np.sqrt(weight.size))
        step = size * min(rate, 1 / np.sqrt(self.steps)) / max(1.0, norm([update]) / np.sqrt(update.size))
        return weight * (1 - rate * self._decay) - step * update


class Rules:
    """All tensors of a trial's model, step by step."""

    def __init__(self, settings: Optimizer, values: Values) -> None:
        self._settings = settings
        self._rules = {key: Rule(key[1], settings) for key in values}

    def largest_error(self, before: Values, gradients: Values, after: Values, step: int) -> tuple[float, str]:
        """One more step, numbered `step`: the largest absolute deviation of any weight from the formula, and where."""
        rate = self._settings.learning_rate_at(step)
        return max(
            (largest_deviation(after[key], rule.updated(before[key], gradients[key], rate)), key[1])
            for key, rule in self._rules.items()
        )


# ---- all tensors together ---------------------------------------------------------------------------------------


def clipped(gradients: Mapping[str, np.ndarray], clip_norm: float) -> dict[str, np.ndarray]:
    """As torch.nn.utils.clip_grad_norm_; 0 leaves them as they are. Of one replica, by name."""
    factor = min(1.0, clip_norm / (norm(gradients.values()) + CLIP_EPSILON)) if clip_norm else 1.0
    return {name: wide(value) * factor for name, value in gradients.items()}


def scales_of(settings: LossScale, skipped: Iterable[bool]) -> list[float]:
    """The loss scale of each step and, last, of the step to come, as torch.amp.GradScaler, factors 2 and 1/2."""
    scales, good = [settings.initial], 0
    for was_skipped in skipped:
        good = 0 if was_skipped else good + 1
        grows = good == settings.growth_steps
        good = 0 if grows else good
        scales.append(scales[-1] * (0.5 if was_skipped else 2.0 if grows else 1.0))
    return scales


def largest_deviation(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.max(np.abs(wide(left) - wide(right))))


def relative_errors(values: Values, expected: Values) -> dict[str, float]:
    """Per tensor name, the worst replica: norm of the difference over the norm of what was expected.

    Some gradients vanish in exact arithmetic (a key's bias shifts all scores alike), so no norm counts as less than
    1e-4 of all tensors together.
    """
    whole = norm(expected.values())
    errors: dict[str, float] = {}
    for key, value in values.items():
        scale = max(norm([expected[key]]), 1e-4 * whole)
        error = norm([wide(value) - wide(expected[key])]) / scale
        errors[key[1]] = max(errors.get(key[1], 0.0), error)
    return errors
