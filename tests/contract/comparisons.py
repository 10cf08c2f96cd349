"""What a rank has on the spot against what must be there: the optimizer's formula, and gradients made by hand."""

from __future__ import annotations

import numpy as np
from arithmetic import Rules, Values, clipped, relative_errors, wide
from ranks import Run, Seen

# Of scenarios whose losses are compared with each other's; and of a few more.
STEPS, DETOUR = 8, 3


def two_steps_by_the_formula(run: Run) -> Seen:
    """Steps 0 and 1; how far any weight of the first local replica is from where the optimizer's formula takes it."""
    start = first_replica(run.values("weight"))
    rules = Rules(run.trial.optimizer, start)
    first = run.train([run.batch(0)])
    after_one = run.values("weight")
    first_error = rules.largest_error(start, run.values("gradient"), after_one, step=0)
    second = run.train([run.batch(1)])
    after_two = run.values("weight")
    second_error = rules.largest_error(after_one, run.values("gradient"), after_two, step=1)
    return {
        "first": first,
        "second": second,
        "update_errors": [first_error, second_error],
        "largest_update": max(float(np.max(np.abs(wide(after_two[key]) - wide(start[key])))) for key in start),
    }


def reference_errors(run: Run, gradients: Values, own: bool = False) -> dict[str, float] | None:
    """Against the gradients made by hand, clipped as the trial says. `own`: of a replica's own share alone."""
    if run.plan["reference"] is None:
        return None
    task, replicas = run.trial.workload.task, run.world.replicas
    expected: Values = {}
    with np.load(run.plan["reference"]) as reference:
        for index, replica in enumerate(sorted({replica for replica, _ in gradients})):
            share = f"{replicas}|{run.first_replica + index}" if own else "global"
            by_hand = {name: reference[f"{task}|{share}|{name}"] for each, name in gradients if each == replica}
            kept = clipped(by_hand, run.trial.optimizer.clip_norm)
            expected |= {(replica, name): value for name, value in kept.items()}
    return relative_errors(gradients, expected)


def first_replica(values: Values) -> Values:
    """Those of the first local replica; that the others are alike is shown by their digests."""
    first = min(replica for replica, _ in values)
    return {key: value for key, value in values.items() if key[0] == first}
