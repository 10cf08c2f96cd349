"""What the presets of a PyTorch trial turn on. What is in force is read back from the live objects (Facts.settings)."""

from __future__ import annotations

from typing import Any, NamedTuple

from bench.errors import TrialError
from bench.records import Preset, Trial


class Tuning(NamedTuple):
    """fused    the optimizer's update is one kernel over all tensors, where it has one (AdamW and SGD)
    pinned   batches reach a GPU from page-locked memory, so that their copies wait for nothing
    recorded on a GPU, what torch.compile made is recorded as CUDA graphs and replayed
    wrapper  what DistributedDataParallel is told beyond its defaults

    torch.compile belongs to the preset as well: Trial.compiled. Scaled-dot-product attention is in both, because it is
    what transformers takes by itself.
    """

    fused: bool
    pinned: bool
    recorded: bool
    wrapper: dict[str, Any]


PRESETS: dict[Preset, Tuning] = {
    "plain": Tuning(fused=False, pinned=False, recorded=False, wrapper={}),
    # The gradients are views of the buckets, which saves a copy of each; the graph of a step never changes.
    "tuned": Tuning(
        fused=True, pinned=True, recorded=True, wrapper={"gradient_as_bucket_view": True, "static_graph": True}
    ),
}


def records_graphs(trial: Trial, device: Any) -> bool:
    """Whether the compiled passes are to be CUDA graphs: as the preset has it, unless the option `cuda_graphs` says.

    The optimizer, the loss scale and every exchange stay outside, and so need nothing. Raises TrialError where the
    option asks for what cannot be.
    """
    asked = trial.options.get("cuda_graphs")
    if asked is None:
        return PRESETS[trial.preset].recorded and device.type == "cuda"
    if not isinstance(asked, bool):
        raise TrialError(f"cuda_graphs must be true or false, not {asked!r}")
    if asked and device.type != "cuda":
        raise TrialError(f"cuda_graphs replays what a GPU was given, and {device} is none")
    if asked and not trial.compiled:
        raise TrialError("cuda_graphs records what torch.compile made: it needs `compile` or the preset tuned")
    return asked
