"""What a rank of a contract launch does, scenario by scenario; plans.py says with which trial.

Whatever can be compared on the spot is reduced to a number here; what needs other ranks or launches goes to the tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
from arithmetic import Rules, Values, relative_errors
from comparisons import DETOUR, STEPS, first_replica, reference_errors, two_steps_by_the_formula
from low_precision import bfloat16, float16, wire
from plans import LEARNING_STEPS
from ranks import Run, Seen

from backends import BACKENDS
from bench.evaluation import evaluate, score_of
from bench.protocols import Batch
from bench.workload.batches import ValidationBatches
from bench.workload.corpus import read_meta

REPEATED = 20


def adamw(run: Run) -> Seen:
    """Before any step: a planted exchange, steps in microbatches, gradients; then the formula and the first steps."""
    before, empty = run.digests(), len(run.backend.exchanges())
    planted, unmoved = run.planted(1.0), run.digests() == before
    run.backend.snapshot()  # the optimizer has no state yet
    parts = in_microbatches(run, 2 * run.world.replicas)
    run.backend.restore()
    run.train([run.batch(0)])
    gradients = run.values("gradient")
    run.backend.restore()
    return {
        "planted": planted,
        "planting_leaves_the_weights": unmoved,
        "exchanges_before_a_step": empty,
        "shapes": run.shapes(),
        "weight_dtypes": sorted({str(value.dtype) for value in run.values("weight").values()}),
        "gradient_errors": reference_errors(run, gradients),
        "parts_errors": relative_errors(parts.pop("gradients"), gradients),
        "parts": parts,
        **two_steps_by_the_formula(run),
        "rest": run.train(run.steps(2, STEPS - 2)),
        "digests": run.digests(),
        **run.described(),
    }


def in_microbatches(run: Run, count: int) -> Seen:
    """The gradients of step 0, and the losses of the first steps."""
    batches = run.share(run.first_replica, run.world.local_replicas, accumulation=count)
    first = run.train([batches.batch(0)])
    gradients = run.values("gradient")
    return {"first": first, "gradients": gradients, "rest": run.train([batches.batch(step) for step in (1, 2)])}


def sgd(run: Run) -> Seen:
    """With dropout: the formula; the same units after a restore and after a rebuild; evaluation leaves no trace."""
    backend, batches = run.backend, run.steps(0, DETOUR)
    backend.snapshot()
    formula = two_steps_by_the_formula(run)
    backend.restore()
    trained, digests = run.train(batches), run.digests()
    same_data = run.train([every_replica_the_same(run, step) for step in range(2)])
    facts = run.described()
    backend.restore()
    repeated = run.train([run.batch(0)] * REPEATED)
    backend.restore()
    watched = evaluations_between(run, batches)
    backend.build(run.trial, Path(run.plan["checkpoint"]))
    rebuilt = run.train(batches)
    return {
        **formula,
        "trained": trained,
        "digests": digests,
        "same_data": same_data,
        "repeated": repeated,
        "watched": watched,
        "rebuilt": rebuilt,
        "rebuilt_digests": run.digests(),
        **facts,
    }


def evaluations_between(run: Run, batches: list[Batch]) -> Seen:
    """The same steps with an evaluation before each; the first one sees the initial weights."""
    first = run.evaluate(run.global_batch(0))
    numerators = []
    for batch in batches:
        numerators += run.train([batch])["numerators"]
        run.evaluate(run.global_batch(batch.step + 1))
    return {"first": first, "numerators": numerators, "digests": run.digests()}


def every_replica_the_same(run: Run, step: int) -> Batch:
    """Replica 0's share for all replicas, so that only the dropped units can differ."""
    batch, copies = run.share(0, 1).batch(step), run.world.local_replicas
    arrays = {name: np.repeat(array, copies, axis=1) for name, array in batch.arrays.items()}
    return Batch(
        step=step,
        arrays=arrays,
        global_weights=batch.global_weights,
        samples=batch.samples * copies,
        tokens_real=batch.tokens_real * copies,
        tokens_padded=batch.tokens_padded * copies,
    )


def classification(run: Run) -> Seen:
    """LAMB with clipping and a schedule: gradients of a full and of a local step; the formula; the detour."""
    evaluated = run.evaluate(run.global_batch(0))
    run.backend.snapshot()
    start = run.values("weight")
    run.train([run.batch(0)], exchange=False)
    local = run.values("gradient")
    local_error = Rules(run.trial.optimizer, start).largest_error(start, local, run.values("weight"), step=0)
    run.backend.restore()
    run.train([run.batch(0)])
    whole = run.values("gradient")
    run.backend.restore()
    trained = two_steps_by_the_formula(run)
    rest = run.train(run.steps(2, STEPS - 2))
    digests = run.digests()
    described, ahead = run.described(), detour(run)
    at_the_end = run.digests()
    run.train(run.steps(run.trial.optimizer.decay_steps, 2))
    return {
        **trained,
        **described,
        "evaluated": evaluated,
        "gradient_errors": reference_errors(run, whole),
        "local_gradient_errors": reference_errors(run, local, own=True),
        "local_update_error": local_error,
        "rest": rest,
        "digests": digests,
        "detour": ahead,
        "rate_0_leaves_the_weights": run.digests() == at_the_end,
        "last_rates": sorted({each["learning_rate"] for each in run.described()["settings"]}),
    }


def detour(run: Run) -> Seen:
    """The same full steps twice from one snapshot, the second time after local steps and a restore."""
    ahead, local = run.steps(STEPS, DETOUR), run.steps(STEPS + DETOUR, DETOUR)
    backend = run.backend
    before = run.digests()
    backend.snapshot()
    straight, straight_digests = run.train(ahead), run.digests()
    backend.restore()
    apart = run.train(local, exchange=False)
    apart_digests = run.digests()
    backend.restore()
    restored = run.digests()
    again, again_digests = run.train(ahead), run.digests()
    return {
        "before": before,
        "straight": straight,
        "straight_digests": straight_digests,
        "apart": apart,
        "apart_digests": apart_digests,
        "restored": restored,
        "again": again,
        "again_digests": again_digests,
    }


def ner(run: Run) -> Seen:
    """Adafactor. After the last step, an evaluation of the batch that the next step trains on."""
    evaluated = run.evaluate(run.global_batch(0))
    trained = two_steps_by_the_formula(run)
    rest = run.train(run.steps(2, STEPS - 2))
    described = run.described()
    digests = run.digests()
    before_the_next = run.evaluate(run.global_batch(STEPS))
    following = run.train([run.batch(STEPS)])
    return {
        **trained,
        **described,
        "evaluated": evaluated,
        "rest": rest,
        "digests": digests,
        "before_the_next": before_the_next,
        "next": following,
    }


def compiled(run: Run) -> Seen:
    """The first steps of "adamw", and one without an exchange."""
    first = run.train(run.steps(0, DETOUR))
    digests = run.digests()
    return {"first": first, "digests": digests, "local": run.train([run.batch(0)], exchange=False), **run.described()}


def few(run: Run) -> Seen:
    """Enough to see that the ranks found each other."""
    return {"trained": run.train(run.steps(0, DETOUR)), "digests": run.digests(), **run.described()}


def algorithm(run: Run) -> Seen:
    """A few steps, and an exchange of values of which float32 loses some: what is left tells who was added to whom."""
    values = ([1e8, 1.0, -1e8] * run.world.replicas)[run.world.rank]
    left = np.concatenate([np.ravel(tensor.value) for tensor in run.backend.planted([values])])
    return {**few(run), "left": sorted(set(np.round(left, 3).tolist()))}


def algorithms(run: Run) -> Seen:
    """The same with each algorithm of the backend's row, and the gradients of a step against those of `auto`."""
    seen: Seen = {}
    first: Values = {}
    for name in BACKENDS[run.trial.backend].allreduce:
        run.backend.build(msgspec.structs.replace(run.trial, allreduce=name), Path(run.plan["checkpoint"]))
        run.train([run.batch(0)])
        gradients = run.values("gradient")
        first = first or gradients
        seen[name] = {**algorithm(run), "errors": relative_errors(gradients, first)}
    return seen


def fifty(run: Run) -> Seen:
    """50 steps; rank 0 leaves what they added to each tensor of its first replica."""
    start = run.values("weight")
    trained = run.train(run.steps(0, 50))
    digests = run.digests()
    if run.world.rank == 0:
        after = run.values("weight")
        np.savez(run.plan["updates"], **{key[1]: after[key] - value for key, value in first_replica(start).items()})
    return {"trained": trained, "digests": digests, **run.described()}


def learning(run: Run) -> Seen:
    """Loss and F1 of entities on data that was not trained on, on rank 0."""
    run.train(run.steps(0, LEARNING_STEPS))
    if run.world.rank != 0:
        return {}
    folder, work = Path(run.plan["validation"]), msgspec.structs.replace(run.trial.workload, batch_per_replica=32)
    batches = ValidationBatches(folder, work, 992)  # 31 of a kind: another size would be another graph
    loss, value = evaluate(run.backend, batches, score_of(work.task, read_meta(folder).labels))
    return {"loss": loss, "f1": value}


def bad_input(run: Run) -> Seen:
    """A token id that the vocabulary has not: the step or its fence must raise, and `stop` must still work."""
    batch = run.batch(0)
    ids = np.full_like(batch.arrays["input_ids"], 1_000_000)
    wrong = replace(batch, arrays={**batch.arrays, "input_ids": ids})
    try:
        run.backend.step(wrong, True)
        run.backend.fence()
    except Exception as error:
        return {"raised": f"{type(error).__name__}: {error}"[:500]}
    return {"raised": None}


def protocol_only(run: Run) -> Seen:
    """For a backend without a framework: the calls and the shapes."""
    trained = run.train(run.steps(0, 2))
    run.backend.snapshot()
    local = run.train([run.batch(2)], exchange=False)
    run.backend.restore()
    return {
        "trained": trained,
        "local": local,
        "digests": run.digests(),
        "planted": run.planted(1.0),
        "evaluated": run.evaluate(run.global_batch(0)),
        **run.described(),
    }


SCENARIOS: dict[str, Callable[[Run], Seen]] = {
    "adamw": adamw,
    "sgd": sgd,
    "classification": classification,
    "ner": ner,
    "wire": wire,
    "bfloat16": bfloat16,
    "float16": float16,
    "compiled": compiled,
    "few": few,
    "ring": algorithm,
    "tree": algorithm,
    "algorithms": algorithms,
    "fifty_pretraining": fifty,
    "fifty_ner": fifty,
    "fifty_classification": fifty,
    "learning": learning,
    "bad_input": bad_input,
    "protocol_only": protocol_only,
}
