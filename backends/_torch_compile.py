"""torch.compile with a record of what it was given to compile, and of the CUDA graphs that it replays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from backends._torch_observation import short
from bench.errors import TrialError


class Compiler:
    """Inductor, torch.compile's own compiler, behind a look at each graph: the forward passes that really run.

    records   forward and backward become CUDA graphs: each is warmed up once, recorded once, and from then on replayed,
              inputs being copied to where the recording has them. DDP's cuts stay, so the exchange overlaps as without.
              What a replay returns, gradients included, is overwritten by the next step's.
    """

    def __init__(self, device: Any, records: bool = False) -> None:
        from torch import _inductor

        if device.type == "cpu":
            _require_cpp_compiler()
        # Else it starts processes of its own, which count as load and may outlive a rank.
        _inductor.config.compile_threads = 1
        mode = "reduce-overhead" if records else None
        self._inductor: Callable[..., Any] = torch._TorchCompileInductorWrapper(mode, None, False)
        self.records = records
        self.graphs = 0
        self.dense_dtypes: set[str] = set()

    def __call__(self, graph: Any, inputs: Any) -> Any:
        self.graphs += 1
        for node in graph.graph.nodes:
            if node.op == "call_function" and node.target is torch.nn.functional.linear:
                self.dense_dtypes.add(short(node.meta["example_value"].dtype))
        return self._inductor(graph, inputs)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function` as one graph for each shape of its inputs."""
        made: Callable[..., Any] = torch.compile(function, backend=self, fullgraph=True, dynamic=False)
        if not self.records:
            return made

        def begin_and_run(*inputs: Any) -> Any:
            # What the last forward and backward pass returned may be overwritten from here on.
            torch.compiler.cudagraph_mark_step_begin()
            return made(*inputs)

        return begin_and_run


def replayed_graphs(device: Any) -> int:
    """CUDA graphs, one after the other, that this thread's last step replayed on `device`; 0: it ran without."""
    from torch._inductor.cudagraph_trees import CUDAGraphNode, ExecutionState, get_manager

    manager = get_manager(device.index, create_if_none_exists=False)
    if manager is None or manager.path_state is not ExecutionState.EXECUTION:
        return 0
    last = manager.current_node
    return len(list(last._path_from_root)) if isinstance(last, CUDAGraphNode) else 0


def _require_cpp_compiler() -> None:
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        raise TrialError("`compile` needs a C++ compiler on the CPU: neither CXX nor g++ can be run") from None
