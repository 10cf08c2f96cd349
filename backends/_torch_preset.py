"""What the presets of a PyTorch trial turn on. What is in force is read back from the live objects (Facts.settings)."""

from __future__ import annotations

from typing import Any, NamedTuple

from bench.records import Preset


class Tuning(NamedTuple):
    """fused    the optimizer's update is one kernel over all tensors, where it has one (AdamW and SGD)
    pinned   batches reach a GPU from page-locked memory, so that their copies wait for nothing
    wrapper  what DistributedDataParallel is told beyond its defaults

    torch.compile belongs to the preset as well: Trial.compiled. Scaled-dot-product attention is in both, because it is
    what transformers takes by itself.
    """

    fused: bool
    pinned: bool
    wrapper: dict[str, Any]


PRESETS: dict[Preset, Tuning] = {
    "plain": Tuning(fused=False, pinned=False, wrapper={}),
    # The gradients are views of the buckets, which saves a copy of each; the graph of a step never changes.
    "tuned": Tuning(fused=True, pinned=True, wrapper={"gradient_as_bucket_view": True, "static_graph": True}),
}
