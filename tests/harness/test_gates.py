"""Each gate, and what it must catch."""

import dataclasses

import msgspec

from bench import gates
from bench.records import (
    Assignment,
    DataDigest,
    Facts,
    Repeat,
    StepLosses,
    TensorDigest,
    Trial,
    TrialResult,
    Weights,
    Workload,
)

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
        facts=msgspec.structs.replace(FACTS, parameter_elements=parameters),
    )


def test_sound_ranks_pass_every_gate():
    outcomes = gates.of_launch(ASSIGNMENT, [report(0), report(1)])
    assert {outcome.gate: outcome.holds for outcome in outcomes} == {
        "parameters": True, "threads": None, "exchange": None, "data": True, "finite loss": True, "weights": True,
    }  # fmt: skip
    assert gates.first_failure(outcomes) is None


def told(rank: int, **facts) -> gates.RankReport:
    return dataclasses.replace(report(rank), facts=msgspec.structs.replace(FACTS, **facts))


def test_a_rank_with_more_threads_than_asked_is_named():
    outcome = gates.asked_threads(ASSIGNMENT, [told(0, threads=1), told(1, threads=2)])
    assert (outcome.holds, outcome.sentence) == (False, "rank 1 has 2 threads, asked were 1")
    assert gates.asked_threads(ASSIGNMENT, [told(0, threads=1), told(1, threads=1)]).holds is True


def test_a_tensor_left_out_of_the_exchange_or_sent_twice_is_caught():
    for elements in (99, 101, 200):
        outcome = gates.exchanged_once([told(0, exchange_elements=100), told(1, exchange_elements=elements)])
        assert outcome.holds is False
        assert outcome.sentence == f"rank 1 exchanges {elements} elements a step, it trains 100"
    assert gates.exchanged_once([told(0, exchange_elements=100)]).holds is True


def test_the_loss_of_a_step_is_the_ranks_numerators_over_the_global_weight():
    assert gates.step_losses([report(0, numerators=(3.0,)), report(1, numerators=(5.0,))]) == [2.0]


def test_a_rank_with_other_weights_is_named_with_the_tensor():
    outcome = gates.same_weights([report(0), report(1, sha="bb")])
    assert outcome.holds is False
    assert outcome.sentence.startswith("w differs on rank 1, replica 0")


def test_one_replica_has_nothing_to_compare_and_does_not_count_as_passed():
    assert gates.same_weights([report(0)]).holds is None


def test_a_tensor_that_one_rank_lacks_is_named():
    lacking = dataclasses.replace(report(1), weights=Weights(tensors=[]))
    outcome = gates.same_weights([report(0), lacking])
    assert (outcome.holds, outcome.sentence) == (False, "w was found on 1 of 2 replicas")


def test_another_parameter_count_is_named():
    outcome = gates.same_parameters([report(0), report(1, parameters=99)])
    assert (outcome.holds, outcome.sentence) == (False, "rank 1 trains 99 elements, rank 0 100")


def test_ranks_that_saw_the_same_half_twice_or_nothing_are_caught():
    outcome = gates.seen_weights([report(0, weights=(2.0,)), report(1, weights=(1.0,))])
    assert outcome.holds is False
    assert "add up to 3, the global batch has 4" in outcome.sentence


def test_a_loss_that_is_no_number_names_rank_and_step():
    diverged = [report(0), report(1, numerators=(None,))]
    outcome = gates.finite_loss(diverged)
    assert (outcome.holds, outcome.sentence) == (False, "the loss of rank 1 is not finite at step 0")
    assert gates.step_losses(diverged) == [None]


# ---- between trials -----------------------------------------------------------------------------------------


def result(backend="torch_ddp", losses=(2.0, 1.0), digest="ab", parameters=100, **trial) -> TrialResult:
    asked = Trial(backend=backend, **trial)
    repeat = Repeat(
        trial_id=asked.id, repeat=0, started_utc="", wall_ns=1, command=[], error=None, gates=[], losses=list(losses),
        facts=[msgspec.structs.replace(FACTS, parameter_elements=parameters)], setup=[], hosts=[], data_samples=8,
        data_digest=digest,
    )  # fmt: skip
    return TrialResult(
        trial=asked, trial_id=asked.id, mode="full", framework="torch", status="ok", reason=None, repeats=[repeat]
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
    first, like, second = result(), result("torch_horovod"), result("tf_horovod", losses=(2.0, 1.00002))
    (failure,) = [outcome for outcome in gates.between([first, like, second]) if outcome.holds is False]
    assert failure.sentence == (
        "tf_horovod has loss 1.00002 at step 1 of repeat 0, torch_ddp 1: 2.0e-05 apart, allowed 1e-05"
    )


def test_losses_within_the_tolerance_pass():
    assert outcomes(result(), result("tf_horovod", losses=(2.0, 1.000009)))["same losses"] is True


def test_another_world_size_with_the_same_global_batch_is_compared_more_loosely():
    whole = Workload(batch_per_replica=16)
    alone = result("torch_bare", replicas=1, workload=whole)
    assert outcomes(alone, result(losses=(2.0, 1.00009)))["same losses"] is True
    assert outcomes(alone, result(losses=(2.0, 1.0002)))["same losses"] is False


def test_other_data_or_another_model_is_caught():
    assert outcomes(result(), result("tf_horovod", digest="cd"))["same data"] is False
    assert outcomes(result(), result("tf_horovod", parameters=101))["same model"] is False


def test_with_dropout_equality_is_not_claimed():
    noisy = {"workload": Workload(dropout=0.1)}
    assert outcomes(result(**noisy), result("tf_horovod", losses=(9.0, 9.0), **noisy))["same losses"] is None


def test_another_global_batch_is_not_compared():
    assert outcomes(result(replicas=1), result(losses=(5.0, 5.0), digest="cd"))["same losses"] is None
