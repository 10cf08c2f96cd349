"""What every backend says of itself: facts of the rank, and settings of every tensor, from the live objects."""

from __future__ import annotations

from typing import Any

import plans
import pytest
from arithmetic import decay_of

from backends import BACKENDS

pytestmark = pytest.mark.slow

# The last step before the settings were read; the schedule of "classification" is in its decay there.
LAST_STEP = {"adamw": 7, "sgd": 1, "classification": 7, "ner": 7}
HAS = {
    "adamw": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-6},
    "lamb": {"beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-6, "clip_norm": 0.01},
    "sgd": {"momentum": 0.9},
    "adafactor": {"beta_2_decay": -0.8, "variance_epsilon": 1e-15, "scale_epsilon": 1e-3, "clip_threshold": 1.0},
}
OWN = {name: None for settings in HAS.values() for name in settings} | {"clip_norm": 0.0}


def near(value: float | None) -> Any:
    """Within rounding; nothing is only nothing."""
    return None if value is None else pytest.approx(value, rel=1e-6, abs=0.0)


def test_facts_are_read_from_the_live_objects(seen: Any, cell: Any) -> None:
    local_replicas = cell[1] if BACKENDS[cell[0]].local_replicas else 1
    for rank in seen.of("adamw"):
        facts = rank["facts"]
        assert facts["compute_dtype"] == "float32"
        assert facts.get("loss_scale") is facts.get("skipped_steps") is None
        assert facts["threads"] == local_replicas
        assert len(facts["devices"]) == local_replicas
        assert facts["algorithm_evidence"]
        assert facts["versions"]
        settings = facts["settings"]
        assert (settings["gelu"], settings["dropout"], settings["attention_dropout"]) == ("tanh", 0.0, 0.0)
        assert settings["compile"] is False


@pytest.mark.parametrize("scenario", LAST_STEP)
def test_every_tensor_has_the_settings_that_the_trial_asks_for(
    seen: Any, whole: Any, launches: Any, scenario: str
) -> None:
    wanted, step = plans.SCENARIOS[scenario].optimizer, LAST_STEP[scenario]
    for rank in seen.of(scenario):
        settings = {each["name"]: each for each in rank["settings"]}
        assert (
            len(settings)
            == len(rank["settings"])
            == {"adamw": 46, "sgd": 46, "classification": 41, "ner": 39}[scenario]
        )
        for name, each in settings.items():
            assert each["learning_rate"] == pytest.approx(wanted.learning_rate_at(step), rel=1e-6), name
            assert each["weight_decay"] == pytest.approx(decay_of(name, wanted), rel=1e-6), name
            own = {key: each.get(key) for key in OWN}
            assert own == {key: near(value) for key, value in (OWN | HAS[wanted.name]).items()}, name


def test_the_schedule_is_past_its_warm_up_and_before_its_end() -> None:
    """Else the rates of the settings would show less. By hand: 4e-3 * (24 - 7) / (24 - 2)."""
    assert plans.SCENARIOS["classification"].optimizer.learning_rate_at(7) == pytest.approx(4e-3 * 17 / 22)


def test_layer_norms_and_gelus_are_told_at_the_tensors_that_they_act_on(seen: Any, cell: Any) -> None:
    for rank in seen.of("adamw"):
        for each in rank["settings"]:
            norm = each["name"].endswith("LayerNorm.weight")
            gelu = each["name"].endswith(("intermediate.dense.weight", "transform.dense.weight"))
            assert each.get("layer_norm_epsilon") == (pytest.approx(1e-12, rel=1e-6) if norm else None), each["name"]
            assert each.get("activation") == ("tanh" if gelu else None), each["name"]


def test_facts_of_a_rebuilt_backend_are_of_its_last_model(seen: Any, pair: Any) -> None:
    for rank in seen.of("ner"):
        assert rank["facts"]["exchange_elements"] == rank["facts"]["parameter_elements"] < 4_433_468
        assert rank["facts"]["compute_dtype"] == "float32"


def test_facts_tell_the_live_dropout(seen: Any, whole: Any) -> None:
    for rank in seen.of("sgd"):
        settings = rank["facts"]["settings"]
        assert (settings["dropout"], settings["attention_dropout"]) == pytest.approx((0.1, 0.1))
