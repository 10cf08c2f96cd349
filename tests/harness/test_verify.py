"""`paceline verify` with real processes on the null backend, and what it says of hand-made tensors and losses."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import save_file

from bench import agreement, environment, gates, proofs, tolerances
from bench.agreement import Rehearsed
from bench.cli.verify import agreement as agreement_table
from bench.records import (
    Assignment,
    DataDigest,
    Environment,
    Exchange,
    Facts,
    GateOutcome,
    Optimizer,
    Rehearsal,
    Result,
    Settings,
    StepLosses,
    Timing,
    Trial,
    Verification,
    Verified,
    Weights,
    Workload,
    Worst,
)
from bench.storage import unseal

STUDY = """
name: check
launcher: local
repeats: 1
timeout_s: 60
workload: {sequence_length: 16, batch_per_replica: 4}
timing: {warmup_windows: 1, windows: 1, steps_per_window: 2}
matrix:
  backend: ['null']
  replicas: [1, 2]
"""


def paceline(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-P", "-m", "bench", *map(str, arguments)]
    return subprocess.run(argv, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def read(path: str) -> Verification:
    return unseal(Path(path).read_bytes(), Verification)


def test_verify_prints_a_table_and_a_later_run_carries_what_it_found(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY)
    done = paceline("verify", "study.yaml", "--steps", 3, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    first, *_, last = done.stdout.splitlines()
    assert first.split() == ["trial", "losses", "gradients", "updates", "gates"]
    found = read(tmp_path / last)
    assert [(each.backend, each.replicas, each.steps, each.error) for each in found.trials] == [
        ("null", 1, 3, None), ("null", 2, 3, None),
    ]  # fmt: skip
    assert {gate.gate: gate.holds for gate in found.trials[1].gates}["own data"] is True
    assert {gate.gate: gate.holds for gate in found.trials[1].gates}["same losses"] is None

    done = paceline("run", "study.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("runs/check-2*/result.json")
    result = unseal(path.read_bytes(), Result)
    assert {each.trial_id for each in result.verification} == {each.trial_id for each in result.trials}
    assert [each.gates for each in result.verification] == [each.gates for each in found.trials]


def test_a_launch_that_fails_is_a_row_with_its_reason_and_status_1(tmp_path):
    (tmp_path / "study.yaml").write_text(STUDY + "options: {fault: raise, fault_at: 1, fault_rank: 1}\n")
    done = paceline("verify", "study.yaml", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "rank 1 failed in windows: RuntimeError: null was told to" in done.stdout
    failed = [each for each in read(tmp_path / done.stdout.splitlines()[-1]).trials if each.error]
    assert [(each.replicas, each.gates) for each in failed] == [(2, [])]


def test_a_rank_whose_data_is_not_its_own_is_caught_by_the_corpus_itself(tmp_path):
    """The parent computes what each rank had to see; here the rank is told another seed than the parent."""
    from bench import verify
    from bench.run import Observer, prepare

    trial = Trial(backend="torch_bare", replicas=1, workload=Workload(sequence_length=16, batch_per_replica=4))
    prepared = prepare(trial, tmp_path, Observer())
    told = Assignment(
        trial=trial, trial_id="x", repeat=0, ranks=1, local_replicas=1, data=str(prepared.data),
        checkpoint=str(prepared.checkpoint), verify_steps=2,
    )  # fmt: skip
    expected, weights = verify.expected_data(told)
    assert [len(of_rank) for of_rank in expected] == [2]
    other = msgspec.structs.replace(trial, workload=msgspec.structs.replace(trial.workload, seed=2))
    assert verify.expected_data(msgspec.structs.replace(told, trial=other))[0] != expected
    assert sorted(weights) == ["mlm", "nsp"]


def verified(**changes) -> Verified:
    given = {
        "trial_id": "torch_ddp-2-abc", "backend": "torch_ddp", "replicas": 2, "created_utc": "", "steps": 10,
        "reference": "torch_ddp-2-abc", "error": None, "losses": None, "gradients": None, "updates": None,
        "gates": [GateOutcome(gate="weights", holds=True, sentence="")],
    }  # fmt: skip
    return Verified(**(given | changes))


def test_the_table_says_how_far_apart_what_is_allowed_and_which_gate_failed():
    worst = Worst(where="w", given=1.0, expected=2.0, difference=0.5, allowed=1e-5)
    wrong = GateOutcome(gate="same updates", holds=False, sentence="tf_horovod: w is 1, expected 2")
    other = verified(
        trial_id="tf_horovod-2-abc", losses=worst, gradients=msgspec.structs.replace(worst, difference=None),
        updates=worst, gates=[*verified().gates, wrong],
    )  # fmt: skip
    alone = verified(
        trial_id="tf_bare-1-abc", reference=None,
        gates=[GateOutcome(gate="same losses", holds=None, sentence="equality not shown: no other stack")],
    )  # fmt: skip
    cut = verified(trial_id="x-1-abc", error="rank 0 failed", gates=[], reference=None)
    found = Verification(
        study="s", environment=environment.capture({}), trials=[verified(), other, alone, cut],
        rejected=[(Trial(backend="tf_bare"), "it runs at most 1 replica")],
    )  # fmt: skip
    assert agreement_table(found) == (
        "trial             losses          gradients   updates         gates\n"
        "----------------  --------------  ----------  --------------  -----------\n"
        "torch_ddp-2-abc   reference       reference   reference       1 hold\n"
        "tf_horovod-2-abc  5e-01 of 1e-05  ? of 1e-05  5e-01 of 1e-05  1 of 2 fail\n"
        "tf_bare-1-abc     -               -           -               0 hold\n"
        "x-1-abc           -               -           -               not run\n"
        "tf_horovod-2-abc: gate 'same updates': tf_horovod: w is 1, expected 2\n"
        "tf_bare-1-abc: equality not shown: no other stack\n"
        "x-1-abc: rank 0 failed\n"
        f"{Trial(backend='tf_bare').id}: not selectable, because it runs at most 1 replica\n"
    )


def test_what_was_found_does_not_outlive_the_code_or_the_packages_it_is_about(tmp_path, monkeypatch):
    seen = environment.capture({})
    trial = proofs.subject(Trial(backend="null", timing=Timing(windows=2)))
    found = Verification(study="s", environment=seen, trials=[verified()], rejected=[])
    proofs.remember(found, [trial], tmp_path)

    def known(where: Environment) -> bool:
        return proofs._read(proofs._path(trial, where, tmp_path)) is not None

    assert known(seen)
    assert not known(msgspec.structs.replace(seen, packages={**seen.packages, "torch": "9"}))
    monkeypatch.setattr(proofs, "_program_digest", lambda: "another")
    assert not known(seen)


# ---- agreement --------------------------------------------------------------------------------------------------

NAMES = ("bert.embeddings.word_embeddings.weight", "cls.seq_relationship.bias", "cls.predictions.bias")
FACTS = Facts(
    parameter_elements=3, compute_dtype="float32", wire_dtype=None, exchange_elements=None, exchange_bytes=None,
    buckets=None, algorithm="none", algorithm_evidence="", devices=[], threads=None, versions={}, settings={},
)  # fmt: skip


@pytest.fixture
def rehearsed(tmp_path):
    """Makes what a trial left: two ranks, two steps, one head; gradients and updates 1 in all three tensors."""
    save_file({name: np.zeros(1, np.float32) for name in NAMES}, tmp_path / "model.safetensors")

    def make(backend="torch_ddp", shares=(2.0, 4.0), gradient=1.0, move=1.0, **trial) -> Rehearsed:
        asked = Trial(backend=backend, **trial)
        folder = tmp_path / f"{backend}-{shares}-{gradient}-{move}-{asked.id}"
        folder.mkdir()
        tensors = {name: np.ones(1, np.float32) for name in NAMES}
        save_file(tensors | {NAMES[2]: np.full(1, gradient, np.float32)}, folder / "gradients.safetensors")
        save_file(tensors | {NAMES[2]: np.full(1, move, np.float32)}, folder / "weights.safetensors")
        assignment = Assignment(
            trial=asked, trial_id=f"{folder.name}", repeat=0, ranks=2, local_replicas=1, data="",
            checkpoint=str(tmp_path), verify_steps=2,
        )  # fmt: skip
        reports, rehearsals = [], []
        for rank, share in enumerate(shares):
            losses = StepLosses(
                window=0, heads=["mlm"], numerators=[[share]] * 2, weights=[[1.0]] * 2, global_weights=[[2.0]] * 2
            )
            report = {"data": DataDigest(samples=0, digest=0), "weights": Weights(tensors=[]), "facts": FACTS}
            report |= {"exchange": Exchange(tensors=[]), "settings": Settings(tensors=[])}
            reports.append(gates.RankReport(rank=rank, windows=[], losses=[losses], **report))
            rehearsals.append(
                Rehearsal(planted=[], shares=[[[share]]] * 2, digests=[0, 0], repeated=[], not_restored=[])
            )
        return Rehearsed(assignment=assignment, folder=folder, reports=reports, rehearsals=rehearsals)

    return make


def failed(compared: agreement.Compared) -> dict[str, str]:
    return {gate.gate: gate.sentence for gate in compared.gates if gate.holds is False}


def test_two_right_stacks_name_the_wrong_one_with_tensor_values_and_bound(rehearsed):
    members = [rehearsed(gradient=1.001), rehearsed("torch_horovod"), rehearsed("tf_horovod")]
    found = agreement.between(members)
    assert failed(found[members[0].trial_id]) == {
        "same gradients": "torch_ddp: cls.predictions.bias is 1.00100005, expected 1 as torch_horovod at 2 replica(s): "
        "1.0e-03 apart, allowed 2.7e-06"
    }
    for other in members[1:]:
        assert failed(found[other.trial_id]) == {}
    assert found[members[1].trial_id].reference == members[1].trial_id


def test_where_two_disagree_both_fail_and_nothing_else_of_them_is_believed(rehearsed):
    members = [rehearsed(move=1.001), rehearsed("torch_horovod")]
    found = agreement.between(members)
    for member in members:
        compared = found[member.trial_id]
        assert list(failed(compared)) == ["same updates"]
        assert {gate.holds for gate in compared.gates} == {None, False}


def test_a_rank_whose_share_is_anothers_is_named_even_where_the_sum_is_right(rehearsed):
    members = [rehearsed(shares=(4.0, 2.0)), rehearsed("torch_horovod"), rehearsed("tf_horovod")]
    sentence = failed(agreement.between(members)[members[0].trial_id])["same losses"]
    assert sentence.startswith("torch_ddp: the mlm loss of rank 0 at step 0 is 4, expected 2 as torch_horovod")


def test_a_stack_alone_shows_no_equality(rehearsed):
    (compared,) = agreement.between([rehearsed()]).values()
    assert {gate.sentence for gate in compared.gates} == {"equality not shown: no other stack did the same work"}
    noisy = Workload(dropout=0.1)
    members = [rehearsed(workload=noisy), rehearsed("tf_horovod", workload=noisy)]
    compared = agreement.between(members)[members[0].trial_id]
    assert {gate.holds for gate in compared.gates} == {None}


def test_a_tensor_that_is_not_finite_or_not_there_is_never_equal(rehearsed):
    broken, sound, other = rehearsed(gradient=float("nan")), rehearsed("torch_horovod"), rehearsed("tf_horovod")
    sentence = failed(agreement.between([broken, sound, other])[broken.trial_id])["same gradients"]
    assert "cls.predictions.bias is not finite, expected 1" in sentence
    lacking = rehearsed("torch_horovod", move=3.0)
    save_file({NAMES[0]: np.ones(1, np.float32)}, lacking.folder / "gradients.safetensors")
    assert agreement.gradients(lacking, sound).difference is None


def test_another_split_of_the_same_global_batch_is_compared_and_another_optimizer_is_not(rehearsed):
    alone = rehearsed("torch_bare", replicas=1, workload=Workload(batch_per_replica=16))
    split = rehearsed(workload=Workload(accumulation=2))
    other = rehearsed(optimizer=Optimizer(name="sgd"))
    found = agreement.between([alone, split, other])
    assert [found[each.trial_id].reference is None for each in (alone, split, other)] == [False, False, True]


# ---- tolerances: docs/equality.md -------------------------------------------------------------------------------


def test_the_gradient_of_a_key_bias_is_zero_but_for_rounding_and_that_of_a_query_bias_is_not():
    """Attention over 6 tokens with 4 features, differentiated by central differences in float64."""
    random = np.random.default_rng(1)
    inputs, target = random.normal(size=(6, 4)), random.normal(size=(6, 4))
    weights = {name: random.normal(size=(4, 4)) for name in "qkv"}

    def loss(query_bias, key_bias):
        query, key = inputs @ weights["q"] + query_bias, inputs @ weights["k"] + key_bias
        scores = query @ key.T / 2
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        return float(((shares @ inputs @ weights["v"] - target) ** 2).sum())

    def slope(which):
        step, zero = 1e-4 * np.eye(4)[0], np.zeros(4)
        up, down = ((sign * step, zero) if which == "q" else (zero, sign * step) for sign in (1, -1))
        return (loss(*up) - loss(*down)) / 2e-4

    assert abs(slope("k")) < 1e-9
    assert abs(slope("q")) > 1e-3


def test_only_the_biases_of_keys_are_exempt():
    name = "bert.encoder.layer.3.attention.self.key"
    assert tolerances.key_weight_of(f"{name}.bias") == f"{name}.weight"
    for other in (f"{name}.weight", "bert.encoder.layer.3.attention.self.query.bias", "cls.predictions.bias"):
        assert tolerances.key_weight_of(other) is None


def test_no_gradients_move_a_weight_further_under_adam_than_the_bound():
    optimizer, random = Optimizer(learning_rate=1.0), np.random.default_rng(0)
    furthest = 0.0
    for _ in range(200):
        scales = 10.0 ** random.uniform(-6, 2, size=10)
        moved, first, second = 0.0, 0.0, 0.0
        for step, gradient in enumerate(random.normal(size=10) * scales, start=1):
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            moved += abs(first / (1 - 0.9**step)) / np.sqrt(second / (1 - 0.999**step))
        furthest = max(furthest, moved)
    bound = tolerances.largest_move(optimizer, 10)
    assert 0.5 * bound < furthest <= bound
    assert tolerances.largest_move(optimizer, 1) == pytest.approx(1.0)


def test_bounds_follow_the_precision_and_never_exceed_1e_5_for_float32_losses():
    def of(**changes):
        return Trial(backend="torch_ddp", **changes)

    flat = [2.0] * 10
    assert tolerances.losses(of(), of(), flat) == pytest.approx([32 * 2**0.5 * 2**-24] * 10)
    large = of(workload=Workload(model="large"))
    assert tolerances.losses(large, large, [2.0] * 50)[-1] == pytest.approx(1e-5)
    assert tolerances.losses(of(), of(replicas=1), flat)[0] == pytest.approx(4 * 32 * 2**0.5 * 2**-24)
    low, plain = of(compute="bfloat16"), "bert.encoder.layer.0.output.dense.weight"
    for pair in ((low, low), (low, of()), (of(), low)):
        assert tolerances.losses(*pair, flat)[0] == pytest.approx(0.15 * 2**-8 + 32 * 2**0.5 * 2**-24)
    assert tolerances.losses(low, low, [2.0, 1.0])[1] == pytest.approx(1.18 * 2**-8 + 5e-5, rel=0.005)
    assert tolerances.gradient(low, plain, 10, 1.0, 1.0) == pytest.approx(4 * 2**0.5 * 2**-8)
    key = "bert.encoder.layer.0.attention.self.key.weight"
    assert tolerances.gradient(low, key, 10, 1.0, 1.0) == pytest.approx(6 * 2**0.5 * 2**-8)
    wire = of(wire="float16")
    assert tolerances.gradient(wire, plain, 4, 1e-3, 1.0) == pytest.approx(
        32 * 2**0.5 * 2**-24 + 2 * 2**0.5 * (2**-11 + 2**-25 * 2 / 1e-3)
    )


def test_a_sum_over_tokens_in_bfloat16_is_rounded_at_each_term():
    """1,024 tokens of random sign, added one after the other, as the biases' gradients of a dense layer may be."""
    random = np.random.default_rng(3)
    terms = random.normal(size=(1_024, 500)).astype(np.float32)
    total = np.zeros(500, np.float32)
    for term in terms:
        total = _to_bfloat16(total + term)
    error = float(np.linalg.norm(total - terms.sum(axis=0)) / np.linalg.norm(terms.sum(axis=0)))
    trial = Trial(backend="torch_ddp", compute="bfloat16")
    assert trial.workload.batch_per_replica * trial.workload.sequence_length == 1_024
    own, other = "bert.encoder.layer.0.output.dense.bias", "bert.encoder.layer.0.output.dense.weight"
    allowed = [tolerances.gradient(trial, name, 500, 1.0, None) for name in (own, other)]
    assert error < allowed[0] - allowed[1] < 8 * error
    half = msgspec.structs.replace(trial, compute="float16")
    assert tolerances.gradient(half, own, 500, 1.0, None) == tolerances.gradient(half, other, 500, 1.0, None)


def _to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Rounded to nearest, as float32."""
    bits = values.view(np.uint32).astype(np.uint64) + 0x8000
    return (bits & 0xFFFF0000).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize(("elements", "error"), [(128, 2e-3), (128, 2e-2), (100_000, 2e-2)])
def test_what_a_small_error_makes_of_ten_adam_steps_is_within_the_bound(elements, error):
    """Gradients of random size and sign, and the same with an error of this relative size: 30 times."""
    random = np.random.default_rng(4)
    optimizer, found = Optimizer(learning_rate=1.0), []
    for _ in range(30 if elements < 1_000 else 3):
        exact = random.normal(size=(10, elements))
        updates = [_adam(exact), _adam(exact + error * random.normal(size=(10, elements)))]
        norm = float(np.linalg.norm(updates[0]))
        found.append(float(np.linalg.norm(updates[1] - updates[0])) / norm)
    trial = Trial(backend="torch_ddp", optimizer=optimizer, compute="bfloat16")
    moved = tolerances.Moved(elements, 1.0, 0.0, norm)
    bound = tolerances.update(trial, "w", 10, error, moved)
    assert max(found) < bound < 6 * max(found)


def _adam(gradients: np.ndarray) -> np.ndarray:
    moved, first, second = 0.0, 0.0, 0.0
    for step, gradient in enumerate(gradients, start=1):
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        moved = moved + (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-6)
    return np.asarray(moved)


def test_a_sum_over_samples_that_nearly_cancels_may_differ_by_its_condition_number():
    trial = Trial(backend="torch_ddp")
    narrow, wide = (tolerances.gradient(trial, "bert.pooler.dense.weight", 10, 1.0, norm) for norm in (1.0, 1e-3))
    assert wide - narrow == pytest.approx(2**-24 * 2**0.5 * 999)
    ner = Trial(backend="torch_ddp", workload=Workload(task="ner"))
    assert tolerances.head_bias(ner) is None
    assert tolerances.head_bias(trial) == "cls.seq_relationship.bias"


def test_what_was_seen_of_the_gradients_tightens_the_bound_of_updates_and_a_fault_in_them_excuses_nothing():
    assert [tolerances.repeated_error(1.0, seen) for seen in (0.0, 0.2, 1.0, 50.0)] == [0.5, 1.0, 5.0, 5.0]
