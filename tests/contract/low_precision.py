"""Scenarios in 16 bits, on the wire and in the products."""

from __future__ import annotations

from arithmetic import Rules, Values
from comparisons import DETOUR, STEPS, first_replica, reference_errors
from ranks import Run, Seen

SCALED_STEPS = 12


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
    return {"history": history, "first_update": first_update, "straight": straight, "again": again, **described}


def scaled_step(run: Run, step: int) -> Seen:
    """One step, and what the loss scale did in it."""
    trained = run.train([run.batch(step)])
    facts = run.backend.facts()
    return {
        "trained": trained,
        "scale": facts.loss_scale,
        "skipped_steps": facts.skipped_steps,
        "digests": run.digests(),
    }


def update_by_the_formula(run: Run, start: Values) -> Seen:
    """The optimizer's first step, however many were left out before."""
    gradients = run.values("gradient")
    error = Rules(run.trial.optimizer, start).largest_error(start, gradients, run.values("weight"), step=0)
    return {"error": error, "gradient_errors": reference_errors(run, gradients)}
