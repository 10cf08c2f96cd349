"""What is asked of a backend: the cells (backend, replicas), their scenarios, and the trial of each scenario."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from backends import BACKENDS, Entry
from bench.records import Algorithm, Compute, LossScale, Optimizer, Task, Trial, Wire, Workload

DATA = Path(__file__).parents[3] / "shared" / "data"
# BERT-tiny with fewer words, of whose embeddings less is moved and reckoned with. "adamw" has all of them.
FEWER_WORDS = str(Path(__file__).with_name("fewer_words"))
# Of BERT-tiny's depth and narrower; the wide start makes it learn within a hundred steps.
LEARNS_FAST = str(Path(__file__).with_name("learns_fast"))
# Those that compare with reference.py; of a task the last one has no dropout.
WITH_REFERENCE = ("sgd", "wire", "float16", "adamw", "classification", "ner")
# Of tests/parity: 50 steps, in two replicas.
FIFTY = ("fifty_pretraining", "fifty_ner", "fifty_classification")
# Of tests/parity too: a score on data that was not trained on, after so many steps.
LEARNING_STEPS = 301
# One for each framework: a process waits tens of seconds for a compiler of C++ code.
COMPILED = (("torch_bare", 1), ("tf_horovod", 2))

# With what was built last, if anything: to build once more would cost a launch's time and show nothing.
AFTERWARDS = ("collectives", "bad_input")

# Scenario and options of a launch under another launcher: a few steps, or what only that launcher can have. Over MPI
# Horovod runs the algorithm that its ranks were started for.
FEW: tuple[str, dict[str, Any]] = ("few", {})
UNDER: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {
    ("torch_horovod", "mpirun"): ("ring", {}),
    ("tf_horovod", "mpirun"): ("tree", {}),
    ("torch_ddp", "torchrun"): ("few", {"bucket_cap_mb": 0.5}),
}


class Scenario(NamedTuple):
    """The part of the trial that a scenario of scenarios.py asks for."""

    task: Task = "pretraining"
    dropout: float = 0.0
    optimizer: Optimizer = Optimizer()
    model: str = "tiny"
    # The project's own data, everywhere the same. Parity tests take real texts.
    data: str = "builtin"
    compute: Compute = "float32"
    wire: Wire = "float32"
    allreduce: Algorithm = "auto"
    loss_scale: LossScale = LossScale()
    compile: bool = False
    # The same for every backend and number of replicas.
    global_batch: int = 8


SCENARIOS: dict[str, Scenario] = {
    "adamw": Scenario(),
    "few": Scenario(),
    "algorithms": Scenario(),
    "ring": Scenario(allreduce="ring"),
    "tree": Scenario(allreduce="tree"),
    "protocol_only": Scenario(),
    "sgd": Scenario(
        dropout=0.1, optimizer=Optimizer(name="sgd", learning_rate=0.1, momentum=0.9, weight_decay=0.1)
    ),
    # Warm-up over two steps, then down to 0 at step 24; and gradients so large that they are clipped.
    "classification": Scenario(
        task="classification",
        model=FEWER_WORDS,
        optimizer=Optimizer(
            name="lamb", learning_rate=4e-3, weight_decay=0.1, warmup_steps=2, decay_steps=24, clip_norm=0.01
        ),
    ),
    "ner": Scenario(
        task="ner",
        model=FEWER_WORDS,
        optimizer=Optimizer(name="adafactor", learning_rate=1e-2, weight_decay=0.1),
    ),
    "wire": Scenario(wire="float16"),
    "bfloat16": Scenario(compute="bfloat16", wire="bfloat16"),
    # Too large a scale for float16, whose largest number is 65,504: the first steps must be left out.
    "float16": Scenario(compute="float16", loss_scale=LossScale(initial=2.0**20, growth_steps=3)),
    "compiled": Scenario(compile=True),
    "fifty_pretraining": Scenario(model="mini", data="wikitext2/valid.txt"),
    "fifty_ner": Scenario(model="mini", data="wnut17/train.conll", task="ner"),
    "fifty_classification": Scenario(task="classification", model=FEWER_WORDS),
    # Few of the entities of its dev part occur in training, so F1 stays low; so many steps are enough to find some.
    "learning": Scenario(
        model=LEARNS_FAST,
        data="wnut17",
        task="ner",
        optimizer=Optimizer(learning_rate=5e-3, warmup_steps=30, decay_steps=LEARNING_STEPS),
        global_batch=32,
    ),
}  # fmt: skip


def cells() -> list[tuple[str, int]]:
    """(backend, replicas) of every backend with a framework, for 1 and 2 replicas as far as the table allows."""
    rows = [(name, row) for name, row in BACKENDS.items() if row.framework != "none"]
    return [(name, replicas) for name, row in rows for replicas in (1, 2)[: row.max_replicas]]


def whole(backend: str, replicas: int) -> bool:
    """Whether the cell runs all scenarios. A wrapper's single replica does only what a wrapper can break."""
    return replicas == 2 or BACKENDS[backend].max_replicas == 1


def with_three(backend: str) -> tuple[str, ...]:
    """The scenarios of its launch with three replicas; where the algorithm is chosen in the process, each of them."""
    row = BACKENDS[backend]
    return ("collectives", "algorithms") if len(row.allreduce) > 1 and not row.allreduce_by else ("collectives",)


def has(cell: tuple[str, int], scenario: str) -> bool:
    """Whether the cell runs the scenario."""
    return scenario in usual(*cell)


def usual(backend: str, replicas: int) -> tuple[str, ...]:
    """The scenarios of a cell. After "collectives" Horovod is slow, after "bad_input" the backend is broken."""
    row = BACKENDS[backend]
    if row.framework == "none":
        return ("protocol_only",)
    if not whole(backend, replicas):
        return ("adamw", "collectives")
    low = ("float16", "bfloat16", "wire", "compiled")
    wanted = ("sgd", *low, "classification", "ner", *FIFTY, "learning", "adamw", *AFTERWARDS)
    return tuple(name for name in wanted if allowed(name, row, (backend, replicas)))


def allowed(scenario: str, row: Entry, cell: tuple[str, int]) -> bool:
    """Whether the backend's row has what the scenario asks for, and the cell is one that tries it."""
    if scenario in (*FIFTY, "learning"):
        return cell[1] == 2
    if scenario == "wire":
        return cell[1] == 2 and "float16" in row.wire
    if scenario == "compiled":
        return row.compile and cell in COMPILED
    if scenario in ("float16", "bfloat16"):
        return cell[1] == 2 and scenario in row.compute
    return True


def trial_of(scenario: str, backend: str, replicas: int, options: dict[str, Any]) -> Trial:
    """What a backend with so many replicas is asked to do."""
    asked = SCENARIOS[scenario]
    return Trial(
        backend=backend,
        replicas=replicas,
        workload=workload(asked, replicas),
        optimizer=asked.optimizer,
        compute=asked.compute,
        wire=asked.wire if replicas > 1 and asked.wire in BACKENDS[backend].wire else "float32",
        allreduce=asked.allreduce,
        loss_scale=asked.loss_scale,
        compile=asked.compile,
        options=options,
    )


def workload(asked: Scenario, replicas: int = 1) -> Workload:
    """Short sequences, and few samples. Where the real texts are absent, the project's own take their place."""
    real = DATA / asked.data
    return Workload(
        task=asked.task,
        model=asked.model,
        data=str(real) if asked.data != "builtin" and real.exists() else "builtin",
        sequence_length=32,
        batch_per_replica=asked.global_batch // replicas,
        dropout=asked.dropout,
    )
