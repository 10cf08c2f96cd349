"""torch.compile with a record of what it was given to compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from backends._torch_observation import short
from bench.errors import TrialError


class Compiler:
    """Inductor, torch.compile's own compiler, behind a look at each graph: the forward passes that really run."""

    def __init__(self, device: Any) -> None:
        from torch import _dynamo, _inductor

        if device.type == "cpu":
            _require_cpp_compiler()
        # Else it starts processes of its own, which count as load and may outlive a rank.
        _inductor.config.compile_threads = 1
        self._inductor: Callable[..., Any] = _dynamo.lookup_backend("inductor")
        self.graphs = 0
        self.dense_dtypes: set[str] = set()

    def __call__(self, graph: Any, inputs: Any, **options: Any) -> Any:
        self.graphs += 1
        for node in graph.graph.nodes:
            if node.op == "call_function" and node.target is torch.nn.functional.linear:
                self.dense_dtypes.add(short(node.meta["example_value"].dtype))
        return self._inductor(graph, inputs, **options)


def _require_cpp_compiler() -> None:
    from torch._inductor import cpp_builder, exc

    try:
        cpp_builder.get_cpp_compiler()
    except exc.InvalidCxxCompiler:
        raise TrialError("`compile` needs a C++ compiler on the CPU: neither CXX nor g++ can be run") from None
