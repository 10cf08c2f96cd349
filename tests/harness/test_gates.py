"""Each gate, and what it must catch."""

import dataclasses
import json

import msgspec
import pytest

from bench import gates, tolerances
from bench.errors import TrialError
from bench.gates import curves, exchange, launch, losses, rehearsal, settings
from bench.records import (
    Assignment,
    DataDigest,
    Exchange,
    ExchangedTensor,
    Facts,
    LossScale,
    Optimizer,
    PlantedTensor,
    Rehearsal,
    Repeat,
    Settings,
    StepLosses,
    TensorDigest,
    TensorSettings,
    Trial,
    TrialResult,
    Weights,
    Workload,
)
from reports import verdict

FACTS = Facts(
    parameter_elements=100, compute_dtype="float32", wire_dtype=None, exchange_elements=None, exchange_bytes=None,
    buckets=None, algorithm="none", algorithm_evidence="", devices=[], threads=None, versions={}, settings={},
)  # fmt: skip


ASSIGNMENT = Assignment(
    trial=Trial(backend="torch_ddp"), trial_id="x", repeat=0, ranks=2, local_replicas=1, data="d", checkpoint="c"
)


def report(rank: int, numerators=(3.0,), weights=(2.0,), sha="aa", parameters=100) -> gates.RankReport:
    """One rank of two, one step, one head with a global weight of 4."""
    losses = StepLosses(
        window=0, heads=["mlm"], numerators=[list(numerators)], weights=[list(weights)], global_weights=[[4.0]]
    )
    return gates.RankReport(
        rank=rank,
        windows=[],
        losses=[losses],
        data=DataDigest(samples=4, digest=1),
        weights=Weights(tensors=[TensorDigest(name="w", replica=0, sha256=sha, norm=1.0)]),
        facts=msgspec.structs.replace(FACTS, parameter_elements=parameters, wire_dtype="float32"),
        exchange=Exchange(tensors=[]),
        settings=Settings(tensors=[]),
    )


def test_sound_ranks_pass_every_gate():
    outcomes = gates.of_launch(ASSIGNMENT, [report(0), report(1)])
    assert {outcome.gate: outcome.holds for outcome in outcomes} == {
        "parameters": True, "threads": None, "precision": True, "settings": True, "loss scale": None,
        "exchange": None, "all-reduce": True, "data": True, "finite loss": True, "weights": True,
    }  # fmt: skip
    assert gates.first_failure(outcomes) is None


def told(rank: int, **facts) -> gates.RankReport:
    return dataclasses.replace(report(rank), facts=msgspec.structs.replace(FACTS, **facts))


def test_a_rank_with_more_threads_than_asked_is_named():
    outcome = launch.asked_threads(ASSIGNMENT, [told(0, threads=1), told(1, threads=2)])
    assert (outcome.holds, outcome.sentence) == (False, "rank 1 has 2 threads, asked were 1")
    assert launch.asked_threads(ASSIGNMENT, [told(0, threads=1), told(1, threads=1)]).holds is True


def test_the_loss_of_a_step_is_the_ranks_numerators_over_the_global_weight():
    assert gates.step_losses([report(0, numerators=(3.0,)), report(1, numerators=(5.0,))]) == [2.0]


def test_a_backend_that_leaves_more_or_fewer_losses_than_steps_and_heads_costs_its_launch_and_not_the_study():
    two = report(1, numerators=(5.0, 6.0))
    more = dataclasses.replace(two, losses=[*two.losses, *two.losses])
    for wrong, sentence in (
        (two, "rank 1 did not leave one loss for each of 1 steps and 1 heads of window 0"),
        (more, "rank 1 left losses of 2 windows, rank 0 of 1"),
    ):
        for gate in (losses.seen_weights, losses.finite_loss, gates.step_losses):
            with pytest.raises(TrialError, match=sentence):
                gate([report(0), wrong])


def test_a_rank_with_other_weights_is_named_with_the_tensor():
    outcome = launch.same_weights([report(0), report(1, sha="bb")])
    assert outcome.holds is False
    assert outcome.sentence.startswith("w differs on rank 1, replica 0")


def test_one_replica_has_nothing_to_compare_and_does_not_count_as_passed():
    assert launch.same_weights([report(0)]).holds is None


def test_a_tensor_that_one_rank_lacks_is_named():
    lacking = dataclasses.replace(report(1), weights=Weights(tensors=[]))
    outcome = launch.same_weights([report(0), lacking])
    assert (outcome.holds, outcome.sentence) == (False, "w was found on 1 of 2 replicas")


def test_another_parameter_count_is_named():
    outcome = launch.same_parameters([report(0), report(1, parameters=99)])
    assert (outcome.holds, outcome.sentence) == (False, "rank 1 trains 99 elements, expected 100 as on rank 0")


def test_ranks_that_saw_the_same_half_twice_or_nothing_are_caught():
    outcome = losses.seen_weights([report(0, weights=(2.0,)), report(1, weights=(1.0,))])
    assert outcome.holds is False
    assert "add up to 3, the global batch has 4" in outcome.sentence


def test_a_loss_that_is_no_number_names_rank_and_step():
    diverged = [report(0), report(1, numerators=(None,))]
    outcome = losses.finite_loss(diverged)
    assert (outcome.holds, outcome.sentence) == (False, "the loss of rank 1 is not finite at step 0")
    assert gates.step_losses(diverged) == [None]


# ---- settings, precision and exchange: against what the trial says ---------------------------------------------

TRAINED = {"bert.pooler.dense.weight": 6, "bert.pooler.dense.bias": 2}
PAIR = Trial(backend="torch_ddp")


def exchanging(*tensors: ExchangedTensor, **facts) -> gates.RankReport:
    known = {"wire_dtype": "float32"} | facts
    return dataclasses.replace(
        report(1), exchange=Exchange(tensors=list(tensors)), facts=msgspec.structs.replace(FACTS, **known)
    )


def exchanged(name: str, elements: int, **changes) -> ExchangedTensor:
    given = {"count": 1, "dtype": "float32", "bytes": 4 * elements, "dense": True} | changes
    return ExchangedTensor(name=name, elements=elements, **given)


WHOLE = [exchanged(name, elements) for name, elements in TRAINED.items()]


def test_every_tensor_exchanged_once_passes():
    outcome = exchange.exchanged_once(PAIR, [exchanging(*WHOLE, exchange_elements=8)], TRAINED)
    assert (outcome.holds, outcome.sentence) == (True, "2 tensors, 8 elements, each once a step, dense, in float32")


@pytest.mark.parametrize(
    ("tensors", "sentence"),
    [
        ([], "rank 1 exchanged nothing, expected 2 tensors"),
        (WHOLE[:1], "rank 1: bert.pooler.dense.bias was exchanged 0 times a step, expected 1"),
        ([*WHOLE, WHOLE[0]], "rank 1: bert.pooler.dense.weight was exchanged 2 times a step, expected 1"),
        ([*WHOLE, exchanged("x", 1)], "rank 1: x was exchanged 1 times a step, expected 0"),
        (
            [WHOLE[0], exchanged("bert.pooler.dense.bias", 2, dense=False)],
            "rank 1: bert.pooler.dense.bias was gathered as a sparse gradient, expected a dense all-reduce",
        ),
        (
            [WHOLE[0], exchanged("bert.pooler.dense.bias", 1)],
            "rank 1: bert.pooler.dense.bias was exchanged with 1 elements, expected 2",
        ),
        (
            [WHOLE[0], exchanged("bert.pooler.dense.bias", 2, dtype="float16", bytes=4)],
            "rank 1: bert.pooler.dense.bias was exchanged in float16, asked was float32",
        ),
        (
            [WHOLE[0], exchanged("bert.pooler.dense.bias", 2, bytes=4)],
            "rank 1: bert.pooler.dense.bias was exchanged in 4 bytes, expected 8",
        ),
    ],
)
def test_a_tensor_that_is_not_exchanged_once_and_whole_is_named(tensors, sentence):
    outcome = exchange.exchanged_once(PAIR, [exchanging(*tensors)], TRAINED)
    assert (outcome.holds, outcome.sentence) == (False, sentence)


def test_the_wrappers_own_count_must_agree():
    outcome = exchange.exchanged_once(PAIR, [exchanging(*WHOLE, exchange_elements=16)], TRAINED)
    assert outcome.sentence == "rank 1: the wrapper counts 16 elements a step, expected 8"


def test_one_replica_that_exchanges_nothing_is_not_counted_as_passed():
    alone = Trial(backend="torch_bare", replicas=1)
    assert exchange.exchanged_once(alone, [exchanging()], TRAINED).holds is None


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"compute_dtype": "float32", "wire_dtype": "float16"}, "rank 1 computed in float32, asked was float16"),
        ({"compute_dtype": "float16", "wire_dtype": "float32"}, "rank 1 exchanged float32, asked was float16"),
        ({"compute_dtype": "float16", "wire_dtype": None}, "rank 1 saw no dtype on the wire, asked was float16"),
    ],
)
def test_a_precision_that_was_not_asked_for_is_named(facts, sentence):
    half = Trial(backend="torch_ddp", compute="float16", wire="float16")
    outcome = exchange.asked_precision(half, [exchanging(**facts)])
    assert (outcome.holds, outcome.sentence) == (False, sentence)


def test_an_all_reduce_that_was_not_asked_for_is_named_with_the_one_that_was():
    tree = Trial(backend="torch_ddp", allreduce="tree")
    ran = [
        told(0, algorithm="tree", algorithm_evidence="our code"),
        told(1, algorithm="ring", algorithm_evidence="Gloo"),
    ]
    assert exchange.asked_algorithm(tree, ran[:1]).holds is True
    outcome = exchange.asked_algorithm(tree, ran)
    assert (outcome.holds, outcome.sentence) == (False, "rank 1 ran ring, asked was tree (Gloo)")
    outcome = exchange.asked_algorithm(Trial(backend="torch_ddp"), ran)
    assert (outcome.holds, outcome.sentence) == (False, "rank 1 ran ring, rank 0 tree")
    unseen = [told(0, algorithm="unknown", algorithm_evidence="not observed")] * 2
    assert exchange.asked_algorithm(Trial(backend="torch_horovod"), unseen).holds is None
    assert exchange.asked_algorithm(tree, unseen).holds is False


def test_the_checkpoint_says_how_much_is_trained(tmp_path):
    header = json.dumps({"__metadata__": {}, "w": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}}).encode()
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    known = msgspec.structs.replace(ASSIGNMENT, checkpoint=str(tmp_path))
    (outcome, *_) = gates.of_launch(known, [report(0), report(1)])
    assert outcome.sentence == "torch_ddp: rank 0 trains 100 elements, expected 6 as in the initial checkpoint"


def tensor(name: str, **changes) -> TensorSettings:
    """As AdamW has it after the one step of `report`."""
    given = {"learning_rate": 1e-4, "weight_decay": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-6}
    given |= {"clip_norm": 0.0}
    return TensorSettings(name=name, **(given | changes))


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (tensor("a.dense.weight"), None),
        (tensor("a.dense.weight", learning_rate=1.0000005e-4), None),
        (tensor("a.dense.weight", learning_rate=1.00001e-4), "learning_rate 0.000100001, expected 0.0001"),
        (tensor("a.dense.weight", weight_decay=0.011), "weight_decay 0.011, expected 0.01"),
        (tensor("a.dense.bias"), "weight_decay 0.01, expected 0.0"),
        (tensor("a.dense.weight", beta_2=None), "beta_2 unknown, expected 0.999"),
        (tensor("a.dense.weight", clip_norm=1.0), "clip_norm 1.0, expected 0.0"),
        (tensor("a.dense.weight", clip_norm=None), "clip_norm unknown, expected 0.0"),
        (
            tensor("a.dense.weight", beta_1=0.8, epsilon=1e-8),
            "beta_1 0.8, expected 0.9; epsilon 1e-08, expected 1e-06",
        ),
        (
            tensor("a.LayerNorm.weight", weight_decay=0.0, layer_norm_epsilon=1e-6),
            "layer_norm_epsilon 1e-06, expected 1e-12",
        ),
        (tensor("a.intermediate.dense.weight", activation="erf"), "activation erf, expected tanh"),
        (tensor("a.intermediate.dense.weight"), "activation unknown, expected tanh"),
    ],
)
def test_each_setting_of_each_tensor_is_compared_with_what_was_asked(given, wrong):
    one = dataclasses.replace(report(1), settings=Settings(tensors=[given]))
    outcome = settings.asked_settings(PAIR, [one], None)
    assert outcome.holds is (wrong is None)
    if wrong:
        assert outcome.sentence == f"rank 1: {given.name} has {wrong}"


def test_the_rate_is_that_of_the_last_step_and_momentum_belongs_to_sgd():
    asked = Optimizer(name="sgd", learning_rate=0.4, momentum=0.9, warmup_steps=4)
    given = TensorSettings(name="w.weight", learning_rate=0.1, weight_decay=0.01, momentum=0.9, clip_norm=0.0)
    one = dataclasses.replace(report(0), settings=Settings(tensors=[given]))
    assert settings.asked_settings(msgspec.structs.replace(PAIR, optimizer=asked), [one], None).holds is True
    two = dataclasses.replace(one, losses=one.losses * 2)
    outcome = settings.asked_settings(msgspec.structs.replace(PAIR, optimizer=asked), [two], None)
    assert outcome.sentence == "rank 0: w.weight has learning_rate 0.1, expected 0.2"


ADAFACTOR = {"beta_2_decay": -0.8, "variance_epsilon": 1e-15, "scale_epsilon": 1e-3, "clip_threshold": 1.0}


@pytest.mark.parametrize("field", ADAFACTOR)
def test_each_constant_of_adafactor_is_read_back(field):
    asked = msgspec.structs.replace(PAIR, optimizer=Optimizer(name="adafactor", clip_norm=0.5))
    right = TensorSettings(name="w.weight", learning_rate=1e-4, weight_decay=0.01, clip_norm=0.5, **ADAFACTOR)
    wrong = msgspec.structs.replace(right, **{field: 2 * ADAFACTOR[field]})
    for given, holds in ((right, True), (wrong, False)):
        one = dataclasses.replace(report(0), settings=Settings(tensors=[given]))
        outcome = settings.asked_settings(asked, [one], None)
        assert outcome.holds is holds
    assert outcome.sentence == f"rank 0: w.weight has {field} {2 * ADAFACTOR[field]}, expected {ADAFACTOR[field]}"


def test_a_trained_tensor_without_settings_is_named():
    outcome = settings.asked_settings(PAIR, [report(0)], TRAINED)
    assert outcome.sentence == "rank 0: bert.pooler.dense.bias has no settings"


@pytest.mark.parametrize(
    ("scale", "skipped", "holds"),
    [(1024.0, 0, True), (512.0, 1, True), (1024.0, 1, True), (256.0, 1, False), (2048.0, 0, False), (700.0, 1, False)],
)
def test_a_loss_scale_is_the_initial_one_halved_by_the_skipped_steps(scale, skipped, holds):
    half = Trial(backend="torch_ddp", compute="float16", loss_scale=LossScale(initial=1024.0))
    assert settings.sound_loss_scale(half, [told(0, loss_scale=scale, skipped_steps=skipped)]).holds is holds


def test_ranks_with_different_scales_and_a_scale_without_float16_are_caught():
    half = Trial(backend="torch_ddp", compute="float16", loss_scale=LossScale(initial=1024.0))
    ranks = [told(0, loss_scale=1024.0, skipped_steps=0), told(1, loss_scale=512.0, skipped_steps=1)]
    outcome = settings.sound_loss_scale(half, ranks)
    assert outcome.sentence == "rank 1 has 512.0 after 1 skipped steps, expected 1024.0 after 0 as rank 0"
    assert settings.sound_loss_scale(PAIR, ranks).sentence == "rank 0 scales by 1024, float32 has no scale"


# ---- what only verify asks ----------------------------------------------------------------------------------


def rehearsed(least=1.5, largest=1.5, digests=(7, 8), repeated=(8.0, 8.0, 4.0, 4.0), lost=()) -> Rehearsal:
    planted = [PlantedTensor(name="w", replica=0, least=least, largest=largest)]
    shares = [[[1.0]]] * len(digests)
    numerators = [[value] for value in repeated]
    return Rehearsal(
        planted=planted, shares=shares, digests=list(digests), repeated=numerators, not_restored=list(lost)
    )


def test_a_planted_gradient_must_come_back_as_the_mean():
    assert rehearsal.averaged(PAIR, [rehearsed(), rehearsed()], {"w": 1}).holds is True
    kept, added = rehearsed(1.0, 1.0), rehearsed(1.5, 3.0)
    assert rehearsal.averaged(PAIR, [rehearsed(), kept], None).sentence == (
        "rank 1, replica 0: w came back from the exchange as 1, expected 1.5 (replica r of 2 gave r + 1)"
    )
    assert "w came back from the exchange as 1.5 to 3" in rehearsal.averaged(PAIR, [added, kept], None).sentence
    assert "not finite" in rehearsal.averaged(PAIR, [rehearsed(None, None)], None).sentence
    missing = rehearsal.averaged(PAIR, [rehearsed()], {"w": 1, "b": 1})
    assert missing.sentence == "rank 0: b did not come back from the exchange"
    assert rehearsal.averaged(Trial(backend="torch_bare", replicas=1), [rehearsed()], None).holds is None


def test_a_mean_is_exact_only_where_no_step_of_it_rounds():
    def of(replicas: int, wire: str) -> float:
        return tolerances.planted(Trial(backend="torch_ddp", replicas=replicas, wire=wire))

    assert [of(2, "float32"), of(4, "bfloat16"), of(16, "bfloat16")] == [0.0, 0.0, 0.0]
    assert of(32, "bfloat16") == 0.25  # their sum, 528, does not fit 8 bits
    assert of(3, "float32") == 6 * 2**-24


def test_a_rank_fed_another_ranks_data_is_named_with_both():
    expected = [[7, 8], [17, 18]]
    assert rehearsal.own_data([rehearsed(), rehearsed(digests=(17, 18))], expected).holds is True
    outcome = rehearsal.own_data([rehearsed(), rehearsed(digests=(17, 8))], expected)
    assert outcome.sentence == "rank 1 was fed rank 0's data at step 1, expected digest 0000000000000012"
    outcome = rehearsal.own_data([rehearsed(digests=(7, 255))], expected)
    assert outcome.sentence == (
        "rank 0 was fed data with digest 00000000000000ff at step 1, expected digest 0000000000000008"
    )


def test_the_loss_of_a_repeated_batch_must_fall():
    outcome = rehearsal.learns(PAIR, [rehearsed(), rehearsed()], [4.0])
    assert outcome.sentence == "the loss of a repeated batch went from 4 to 2 in 4 steps"
    flat = rehearsal.learns(PAIR, [rehearsed(repeated=(8.0, 7.0, 8.0, 7.0))], [4.0])
    assert (flat.holds, flat.sentence) == (
        False, "the loss of a repeated batch went from 2 to 1.75 in 4 steps, expected to fall"
    )  # fmt: skip
    assert rehearsal.learns(PAIR, [rehearsed(repeated=(8.0, None, 8.0, 7.0))], [4.0]).holds is False


def test_a_weight_that_a_restore_does_not_bring_back_is_named():
    assert rehearsal.restored([rehearsed(), rehearsed(lost=["w"])]).sentence == (
        "rank 1: w is not as it was at the snapshot"
    )


# ---- between trials -----------------------------------------------------------------------------------------


def result(backend="torch_ddp", losses=(2.0, 1.0), digest="ab", parameters=100, skipped=None, **trial) -> TrialResult:
    asked = Trial(backend=backend, **trial)
    repeat = Repeat(
        trial_id=asked.id, repeat=0, started_utc="", wall_ns=1, command=[], error=None, gates=[], losses=list(losses),
        facts=[msgspec.structs.replace(FACTS, parameter_elements=parameters, skipped_steps=skipped)], setup=[],
        hosts=[], data_samples=8,
        data_digest=digest, evaluations=[], journals=[], warmup_windows=None, settled=None,
    )  # fmt: skip
    return TrialResult(
        trial=asked,
        trial_id=asked.id,
        mode="full",
        framework="torch",
        status="ok",
        reason=None,
        stopped=None,
        repeats=[repeat],
    )


def outcomes(*results: TrialResult) -> dict[str, bool | None]:
    last = results[-1].trial_id
    return {outcome.gate: outcome.holds for outcome in gates.between(results) if outcome.trial_id == last}


def test_the_same_work_passes():
    first, second = result(), result("tf_horovod")
    assert outcomes(first, second) == {"same model": True, "same data": True, "same losses": True}
    assert [outcome.trial_id for outcome in gates.between([first, second])] == [second.trial_id] * 3


def test_one_wrong_stack_is_named_by_two_right_ones_also_when_it_comes_first():
    wrong, first, second = result(losses=(9.0, 9.0)), result("tf_horovod"), result("tf_mirrored")
    failed = {outcome.trial_id for outcome in gates.between([wrong, first, second]) if outcome.holds is False}
    assert failed == {wrong.trial_id}


def test_where_two_disagree_neither_is_believed():
    one, other = result(losses=(9.0, 9.0)), result("tf_horovod")
    failed = {outcome.trial_id for outcome in gates.between([one, other]) if outcome.holds is False}
    assert failed == {one.trial_id, other.trial_id}


def test_a_launch_that_differs_from_the_others_of_its_own_trial_is_caught():
    sound, mixed = result(), result("tf_horovod")
    strange = msgspec.structs.replace(mixed.repeats[0], repeat=1, losses=[2.0, 1.5])
    mixed = msgspec.structs.replace(mixed, repeats=[mixed.repeats[0], strange])
    assert outcomes(sound, mixed)["same losses"] is False
    assert outcomes(mixed)["same losses"] is False


def test_a_trial_without_its_like_shows_no_equality():
    assert outcomes(result()) == {"same model": None, "same data": None, "same losses": None}


def test_losses_further_apart_than_the_tolerance_are_caught_with_step_and_both_values():
    first, like, second = result(), result("torch_horovod"), result("tf_horovod", losses=(2.0, 1.00006))
    (failure,) = [outcome for outcome in gates.between([first, like, second]) if outcome.holds is False]
    assert failure.sentence == (
        "tf_horovod has loss 1.00006 at step 1 of repeat 0, torch_ddp 1: 6.0e-05 apart, allowed 5e-05"
    )


def test_losses_within_the_tolerance_pass():
    assert outcomes(result(), result("tf_horovod", losses=(2.0, 1.00005)))["same losses"] is True


def test_another_world_size_with_the_same_global_batch_is_compared_more_loosely():
    whole = Workload(batch_per_replica=16)
    alone = result("torch_bare", replicas=1, workload=whole)
    assert outcomes(alone, result(losses=(2.0, 1.00006)))["same losses"] is True
    assert outcomes(alone, result(losses=(2.0, 1.0001)))["same losses"] is False


def test_other_data_or_another_model_is_caught():
    assert outcomes(result(), result("tf_horovod", digest="cd"))["same data"] is False
    assert outcomes(result(), result("tf_horovod", parameters=101))["same model"] is False


def test_with_dropout_equality_is_not_claimed():
    noisy = {"workload": Workload(dropout=0.1)}
    assert outcomes(result(**noisy), result("tf_horovod", losses=(9.0, 9.0), **noisy))["same losses"] is None


def test_another_global_batch_is_not_compared():
    assert outcomes(result(replicas=1), result(losses=(5.0, 5.0), digest="cd"))["same losses"] is None


# ---- across precisions: on losses that fall by a thousandth a step -------------------------------------------------

FALLING = tuple(10 - 0.01 * step for step in range(10))
LOW = {"compute": "bfloat16"}


def across(*results: TrialResult) -> dict[str, tuple[bool | None, str]]:
    found = [each for each in gates.between(results) if each.gate == "same losses across precisions"]
    return {each.trial_id: (each.holds, each.sentence) for each in found}


def off(by: float, first: int = 0) -> tuple[float, ...]:
    return tuple(loss * (1 + by) if step >= first else loss for step, loss in enumerate(FALLING))


def test_the_gate_across_precisions_is_the_one_that_verdicts_ask_for():
    assert (curves.SAME_LOSSES, curves.ACROSS_PRECISIONS) == (verdict.SAME_LOSSES, verdict.SAME_LOSSES_ACROSS)


def test_losses_of_a_lower_precision_are_compared_with_the_most_exact_one():
    low, exact = result(losses=off(5e-4), **LOW), result("tf_horovod", losses=FALLING)
    assert across(low, exact) == {
        low.trial_id: (
            True, "within 5.0e-04 over 10 steps, against tf_horovod in float32 on a float32 wire at 2 replica(s)"
        )
    }  # fmt: skip
    assert across(exact, result(losses=FALLING)) == {}  # one precision: nothing to compare across


@pytest.mark.parametrize(
    ("by", "changed"),
    [
        (7e-4, LOW),  # 0.15 u is 5.9e-4, and the loss has changed by 0.9 %: u / 100 of it
        (1e-4, {"compute": "float16"}),
        (1e-5, {"wire": "float16"}),  # the losses of the first step are those of float32
        (2e-5, {"wire": "bfloat16", "optimizer": Optimizer(learning_rate=1e-3)}),
    ],
)
def test_losses_beyond_the_bound_of_the_lower_precision_fail_with_the_names_of_both(by, changed):
    same = {name: value for name, value in changed.items() if name == "optimizer"}
    exact, like = result(losses=FALLING, **same), result("torch_horovod", losses=FALLING, **same)
    wrong = result("tf_horovod", losses=off(by), **changed)
    ((holds, sentence),) = [across(exact, like, wrong)[wrong.trial_id]]
    assert holds is False
    asked = wrong.trial
    assert sentence.startswith(
        f"tf_horovod in {asked.compute} on a {asked.wire} wire has loss {10 * (1 + by):.9g} at step 0 of repeat 0, "
        "torch_ddp in float32 on a float32 wire 10: "
    )


def test_a_precision_that_no_other_has_agrees_with_the_others_or_nobody_is_believed():
    low, exact = result(losses=off(0.01), **LOW), result("tf_horovod", losses=FALLING)
    assert [holds for holds, _ in across(low, exact).values()] == [False, False]


SCALED = {"compute": "float16"}


@pytest.mark.parametrize(
    ("skipped", "by", "holds"),
    [(0, 5e-4, False), (1, 5e-4, True), (1, 5e-3, None)],  # at step 5 a run one update behind may lose 4 / 5 of 0.9 %
)
def test_float16_may_be_as_far_behind_as_the_updates_that_it_says_it_left_out(skipped, by, holds):
    """One left out in silence is a fault; one too many for what was left out shows nothing, and is none."""
    exact, like = result(losses=FALLING), result("torch_horovod", losses=FALLING)
    behind = result("tf_horovod", losses=off(by, first=9), skipped=skipped, **SCALED)
    assert across(exact, like, behind)[behind.trial_id][0] is holds


def test_with_dropout_nothing_is_claimed_across_precisions():
    noisy = {"workload": Workload(dropout=0.1)}
    found = across(result(losses=FALLING, **noisy), result("tf_horovod", losses=FALLING, **noisy, **LOW))
    assert {holds for holds, _ in found.values()} == {None}
