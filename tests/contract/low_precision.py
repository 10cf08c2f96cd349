"""Scenarios in 16 bits, on the wire and in the products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from arithmetic import Rules, Values
from comparisons import DETOUR, STEPS, first_replica, reference_errors
from ranks import Run, Seen

from bench.protocols import Batch

SCALED_STEPS = 12
HUGE = 1e30  # as a loss weight: too much for float16


def wire(run: Run) -> Seen:
    """Gradients that cross in 16 bits, against those made by hand."""
    run.train([run.batch(0)])
    errors = reference_errors(run, run.values("gradient"))
    rest = run.train(run.steps(1, DETOUR))
    return {
        "gradient_errors": errors,
        "rest": rest,
        "digests": run.digests(),
        "planted": run.planted(0.1),
        **run.described(),
    }


def bfloat16(run: Run) -> Seen:
    """The steps of "adamw", computed and where possible exchanged in 16 bits."""
    first = run.train(run.steps(0, 2))
    rest = run.train(run.steps(2, STEPS - 2))
    return {
        "first": first,
        "rest": rest,
        "digests": run.digests(),
        "weight_dtypes": sorted({str(value.dtype) for value in run.values("weight").values()}),
        "planted": run.planted(0.1),
        **run.described(),
    }


def float16(run: Run) -> Seen:
    """Steps on one batch, from a scale that overflows; then a few steps twice from one snapshot."""
    start = first_replica(run.values("weight"))
    first_update, history = None, []
    for _ in range(SCALED_STEPS):
        history.append(scaled_step(run, 0))
        if first_update is None and history[-1]["digests"] != history[0]["digests"]:
            first_update = update_by_the_formula(run, start)
    described = run.described()
    run.backend.snapshot()
    straight = [scaled_step(run, step) for step in range(DETOUR)]
    run.backend.restore()
    again = [scaled_step(run, step) for step in range(DETOUR)]
    return {
        "history": history,
        "first_update": first_update,
        "straight": straight,
        "again": again,
        "one_overflows": one_overflows(run, DETOUR),
        **described,
    }


def scaled_step(run: Run, step: int) -> Seen:
    """One step, and what the loss scale did in it."""
    return {"trained": run.train([run.batch(step)]), **scale_and_weights(run)}


def scale_and_weights(run: Run) -> Seen:
    """Of the last step, and as they are now."""
    facts = run.backend.facts()
    return {"scale": facts.loss_scale, "skipped_steps": facts.skipped_steps, "digests": run.digests()}


def one_overflows(run: Run, step: int) -> Seen:
    """A step that is not left out, the same one with too much for one replica, and the same one once more."""
    for _ in range(2):  # where the scale has just grown too large it is halved now
        run.backend.snapshot()
        before, good = scale_and_weights(run), scaled_step(run, step)
        if good["skipped_steps"] == before["skipped_steps"]:
            break
    run.backend.restore()
    run.train([too_much_for_the_last_replica(run, step)])
    return {"before": before, "good": good, "overflow": scale_and_weights(run), "next": scaled_step(run, step)}


def too_much_for_the_last_replica(run: Run, step: int) -> Batch:
    """Its gradients are not finite; those of the others are."""
    batch = run.batch(step)
    weights = np.array(batch.arrays["masked_weights"])
    if run.first_replica + run.world.local_replicas == run.world.replicas:
        weights[:, -1] *= HUGE
    return replace(batch, arrays={**batch.arrays, "masked_weights": weights})


def update_by_the_formula(run: Run, start: Values) -> Seen:
    """The optimizer's first step, however many were left out before."""
    gradients = run.values("gradient")
    error = Rules(run.trial.optimizer, start).largest_error(start, gradients, run.values("weight"), step=0)
    return {"error": error, "gradient_errors": reference_errors(run, gradients)}
