"""The formulas that backends are held to, by numbers made by hand; and PyTorch's own, where it is installed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from arithmetic import Rule, clipped, scales_of

from bench.records import LossScale, Optimizer

ONE = {"learning_rate": 0.5, "weight_decay": 0.0, "epsilon": 1e-12}


def one(name: str, weight: list[float], gradients: list[list[float]], tensor: str = "a.weight", **changes: Any) -> Any:
    """The weight after a step with each of the gradients."""
    settings = Optimizer(name=name, **{**ONE, **changes})
    rule, value = Rule(tensor, settings), np.array(weight)
    for step, gradient in enumerate(gradients):
        value = rule.updated(value, np.array(gradient), settings.learning_rate_at(step))
    return value.tolist()


def test_adamw_takes_a_whole_rate_at_its_first_step() -> None:
    assert one("adamw", [1.0, 2.0], [[8.0, -0.1]]) == pytest.approx([0.5, 2.5])


def test_adamws_decay_is_beside_the_gradient_and_not_on_biases() -> None:
    assert one("adamw", [1.0], [[8.0]], weight_decay=0.2) == pytest.approx([0.4])
    assert one("adamw", [1.0], [[8.0]], "a.bias", weight_decay=0.2) == pytest.approx([0.5])
    assert one("adamw", [1.0], [[8.0]], "LayerNorm.weight", weight_decay=0.2) == pytest.approx([0.5])


def test_sgds_momentum_adds_up_and_its_decay_does_not() -> None:
    """v = 1, then 0.9 + 1."""
    assert one("sgd", [4.0], [[1.0], [1.0]], momentum=0.9) == pytest.approx([4.0 - 0.5 * 1.0 - 0.5 * 1.9])
    assert one("sgd", [4.0], [[1.0]], weight_decay=0.1) == pytest.approx([4.0 * 0.95 - 0.5])


def test_lambs_step_is_as_long_as_rate_times_weights() -> None:
    """w = (3, 4) has length 5, the direction (1, 1) length sqrt(2): each element moves by 0.5 * 5 / sqrt(2)."""
    moved = 0.5 * 5.0 / np.sqrt(2.0)
    assert one("lamb", [3.0, 4.0], [[7.0, 0.2]]) == pytest.approx([3.0 - moved, 4.0 - moved])


def test_lambs_decay_belongs_to_the_direction() -> None:
    """Direction 1 + 0.5 * 2 = 2 = the weight: ratio 1, step 0.5 * 2. On a bias: direction 1, ratio 2, the same step."""
    assert one("lamb", [2.0], [[7.0]], weight_decay=0.5) == pytest.approx([1.0])
    assert one("lamb", [2.0, 0.0], [[7.0, 0.0]], weight_decay=0.5) == pytest.approx([1.0, 0.0])


def test_lamb_moves_weights_of_no_length_by_the_bare_direction() -> None:
    assert one("lamb", [0.0, 0.0], [[7.0, -0.2]], "a.bias") == pytest.approx([-0.5, 0.5])


def test_adafactors_first_step_of_a_vector_is_relative_to_its_size() -> None:
    """Root mean square of (3, 4) is sqrt(12.5), the rate 0.5, the update the gradient's sign."""
    moved = 0.5 * np.sqrt(12.5)
    assert one("adafactor", [3.0, 4.0], [[7.0, -0.2]], "a.bias") == pytest.approx([3.0 - moved, 4.0 + moved])


def test_adafactor_factors_a_matrix() -> None:
    """g * g = (1, 4; 9, 16): rows 2.5, 12.5, columns 5, 10, their mean 7.5; estimates row * column / 7.5.

    The mean of g * g / estimate is (0.6 + 1.2 + 1.08 + 0.96) / 4 = 0.96: below 1, so that nothing is clipped.
    """
    weight, gradient = [[1.0, 1.0], [1.0, 1.0]], [[1.0, 2.0], [3.0, 4.0]]
    estimates = np.array([[2.5 * 5, 2.5 * 10], [12.5 * 5, 12.5 * 10]]) / 7.5
    expected = 1.0 - 0.5 * np.array(gradient) / np.sqrt(estimates)
    assert np.allclose(one("adafactor", weight, [gradient]), expected, rtol=1e-12)


def test_adafactor_shortens_an_update_that_outgrows_its_past() -> None:
    """Second step: share 2 ** -0.8 = 0.5743 of 4 beside 1: estimate 2.7230, update 2 / 1.6502 = 1.2120, cut to 1."""
    assert one("adafactor", [1.0], [[1.0]], "a.bias") == pytest.approx([0.5])
    assert one("adafactor", [1.0], [[1.0], [2.0]], "a.bias") == pytest.approx([0.5 - 0.5 * 0.5])


def test_the_rate_follows_warm_up_and_decay() -> None:
    """Rates 0.25, 0.5, then from 0.5 at step 2 to 0 at step 4: 0.5, 0.25, 0."""
    settings = Optimizer(learning_rate=0.5, warmup_steps=2, decay_steps=4)
    assert [settings.learning_rate_at(step) for step in range(6)] == [0.25, 0.5, 0.5, 0.25, 0.0, 0.0]
    moved = one("sgd", [0.0], [[1.0]] * 6, warmup_steps=2, decay_steps=4)
    assert moved == pytest.approx([-(0.25 + 0.5 + 0.5 + 0.25)])


def test_clipping_shortens_all_gradients_together() -> None:
    """(3, 4) has the norm 5."""
    gradients = {"a": np.array([3.0]), "b": np.array([[4.0]])}
    assert clipped(gradients, 10.0)["a"].tolist() == [3.0]
    assert clipped(gradients, 0.0)["a"].tolist() == [3.0]
    assert clipped(gradients, 1.0)["b"][0].tolist() == pytest.approx([0.8], rel=1e-6)


def test_the_loss_scale_halves_at_once_and_doubles_after_good_steps() -> None:
    skipped = [True, True, False, False, False, False, True, False]
    scales = scales_of(LossScale(initial=64.0, growth_steps=2), skipped)
    assert scales == [64.0, 32.0, 16.0, 16.0, 32.0, 32.0, 64.0, 32.0, 32.0]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adamw", "sgd", "adafactor"])
def test_pytorchs_optimizers_follow_the_same_formulas(launches: Any, kind: str) -> None:
    """Three steps with clipping, in float64. torch.optim.SGD has another decay, so it is tried without."""
    if launches.reference is None:
        pytest.skip("PyTorch is not installed")
    decay = {"adamw": 0.1, "sgd": 0.0, "adafactor": 0.1}[kind]
    settings = Optimizer(name=kind, learning_rate=0.01, weight_decay=decay, epsilon=1e-3, momentum=0.9)
    with np.load(launches.reference) as torch:
        names = ("dense", "also_dense")  # both decay
        values = {name: torch[f"torch|start|{name}"] for name in names}
        rules = {name: Rule(name, settings) for name in names}
        for step in range(3):
            gradients = clipped({name: torch[f"torch|gradient {step}|{name}"] for name in names}, 2.0)
            values = {name: rules[name].updated(values[name], gradients[name], 0.01) for name in names}
            for name in names:
                np.testing.assert_allclose(values[name], torch[f"torch|{kind} {step}|{name}"], rtol=1e-9)
