"""CUDA graphs without a GPU: where they are used, what Inductor is told, and how it is known that a step replayed them.

That steps of microbatches survive graphs which overwrite what they returned is in tests/torch.
"""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest

from bench import catalog, study
from bench.errors import TrialError
from bench.records import Trial

torch: Any = pytest.importorskip("torch")
# Of PyTorch's own, where Inductor is first imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
GPU, CPU = torch.device("cuda", 0), torch.device("cpu")


def records(device: Any, option: Any = None, **changes: Any) -> bool | str:
    """Whether the passes are recorded, or the sentence of the refusal."""
    from backends._torch_preset import records_graphs

    try:
        options = {} if option is None else {"cuda_graphs": option}
        return records_graphs(Trial(backend="torch_ddp", options=options, **changes), device)
    except TrialError as error:
        return str(error)


def test_the_tuned_preset_records_graphs_on_a_gpu_unless_the_study_says_otherwise() -> None:
    assert records(GPU, preset="tuned") is True
    assert records(GPU, preset="tuned", compute="float16") is True  # the scaler decides outside the graphs
    assert records(GPU, False, preset="tuned") is False
    assert records(CPU, preset="tuned") is False
    assert records(GPU) is records(GPU, compile=True) is False
    assert records(GPU, True, compile=True) is True


def test_graphs_that_cannot_be_are_refused_in_one_sentence() -> None:
    assert records(CPU, True, preset="tuned") == "cuda_graphs replays what a GPU was given, and cpu is none"
    assert records(GPU, True) == ("cuda_graphs records what torch.compile made: it needs `compile` or the preset tuned")
    assert records(GPU, 1, preset="tuned") == "cuda_graphs must be true or false, not 1"


def test_inductor_is_told_to_record_and_only_then_a_step_begins_by_giving_up_the_last_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from backends._torch_compile import Compiler

    # Set by PyTorch for its profiler where it is told to record.
    for name in ("DISABLE_CUPTI_LAZY_REINIT", "TEARDOWN_CUPTI"):
        monkeypatch.setenv(name, "")
    log: list[Any] = []
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: log.append("begin"))
    told: dict[bool, Any] = {}
    for recorded in (False, True):
        compiler: Any = Compiler(GPU, recorded)
        told[recorded] = compiler._inductor.config
        run = compiler.compiled(log.append)
        run(1)
        run(2)
    assert told == {False: {}, True: {"triton.cudagraphs": True}}
    assert log == [1, 2, "begin", 1, "begin", 2]


def test_a_step_replayed_as_many_graphs_as_lie_on_the_way_to_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inductor's own classes, which have no public way to ask: a new PyTorch that moves them fails here."""
    from torch._inductor import cudagraph_trees as trees

    from backends._torch_compile import replayed_graphs

    forward, backward, manager = (
        each.__new__(each) for each in (trees.CUDAGraphNode, trees.CUDAGraphNode, trees.CUDAGraphTreeManager)
    )
    forward._parent, backward._parent = None, weakref.ref(forward)
    asked: list[tuple[int, bool]] = []

    def get_manager(index: int, create_if_none_exists: bool) -> Any:
        asked.append((index, create_if_none_exists))
        return manager

    monkeypatch.setattr(trees, "get_manager", get_manager)
    manager.path_state, manager.current_node = trees.ExecutionState.RECORDING, backward
    assert replayed_graphs(GPU) == 0
    manager.path_state = trees.ExecutionState.EXECUTION
    assert replayed_graphs(GPU) == 2
    manager.current_node = None
    assert (manager.path_state, replayed_graphs(GPU)) == (trees.ExecutionState.NONE, 0)
    manager = None
    assert replayed_graphs(GPU) == 0
    assert asked == [(0, False)] * 4


def test_memory_that_replays_use_is_not_known_and_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    from backends._torch_device import StepMarks

    class Event:
        def record(self) -> None:
            """The device's next operation."""

        def elapsed_time(self, _: Event) -> float:
            return 3.0

    monkeypatch.setattr(torch.cuda, "Event", lambda enable_timing: Event())
    marks = StepMarks.of(GPU, recorded=True)
    marks.begin()
    marks.end()
    (found,) = marks.take()
    assert found == ((3_000_000,), None, {"update": (3_000_000,)})


@pytest.mark.parametrize(
    ("gpu", "given", "reason"),
    [
        (False, "preset: tuned", "cuda_graphs replays what a GPU was given, and there is no GPU here"),
        (True, "preset: plain", "cuda_graphs records what torch.compile made: it needs `compile` or the preset tuned"),
    ],
)
def test_a_study_that_asks_for_graphs_where_there_can_be_none_has_a_row_with_the_reason(
    gpu: bool, given: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalog, "has_gpu", lambda: gpu)
    (tmp_path / "graphs.yaml").write_text(
        f"backend: torch_bare\nlauncher: local\nreplicas: 1\n{given}\noptions: {{cuda_graphs: true}}\n"
    )
    found = study.load(tmp_path / "graphs.yaml")
    assert (found.trials, [row.reason for row in found.rejected]) == ([], [reason])
