"""What a rank leaves for the gates, whether it measures or verifies."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np

from bench.journal import Journal
from bench.protocols import Array, Backend, Batch, Losses
from bench.records import Exchange, Settings, StepLosses, TensorDigest, Weights


def leave(backend: Backend, journal: Journal) -> Weights:
    """Writes facts, exchange, settings and weights, all read from the live objects; returns the weights."""
    journal.write(backend.facts())
    journal.write(Exchange(tensors=list(backend.exchanges())))
    journal.write(Settings(tensors=list(backend.tensor_settings())))
    weights = Weights(tensors=list(digests(backend)))
    journal.write(weights)
    return weights


def digests(backend: Backend) -> Iterator[TensorDigest]:
    """One fingerprint per weight tensor and local replica, as it is on the device now."""
    for tensor in backend.tensors("weight"):
        value: Array = np.ascontiguousarray(tensor.value)
        content = hashlib.sha256(f"{value.dtype}{value.shape}".encode())
        content.update(value.data)
        norm = float(np.linalg.norm(value.astype(np.float64)))
        yield TensorDigest(name=tensor.name, replica=tensor.replica, sha256=content.hexdigest(), norm=norm)


def step_losses(window: int, losses: Losses, batches: Sequence[Batch]) -> StepLosses:
    """The losses of a window's batches, summed over the local replicas."""
    return StepLosses(
        window=window,
        heads=list(losses.heads),
        numerators=[[finite(value) for value in step] for step in losses.numerators.sum(axis=1)],
        weights=losses.weights.sum(axis=1).tolist(),
        global_weights=[[batch.global_weights[head] for head in losses.heads] for batch in batches],
    )


def finite(value: float | np.floating) -> float | None:
    """None for what JSON cannot hold."""
    return float(value) if np.isfinite(value) else None
