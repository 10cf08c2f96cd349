"""PyTorch with DistributedDataParallel, over Gloo on CPUs and NCCL on GPUs."""

from __future__ import annotations

import inspect
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel

from backends import _nccl as nccl
from backends._placement import anybody_shares
from backends._torch import TorchBackend
from backends._torch_allreduce_hook import Exchange, average_bucket
from backends._torch_collective import Operation
from backends._torch_ddp_collective import GroupOperations, group_algorithm
from backends._torch_observation import GroupCalls, Issued, tally
from bench.errors import TrialError
from bench.protocols import Backend as Protocol
from bench.protocols import World
from bench.records import CollectiveRequest

# Each casts a bucket, reduces it, and casts back; without one DDP reduces the buckets as they are. By its name DDP
# would refuse the last one on CPUs, though Gloo reduces bfloat16.
HOOKS = {
    "float32": None,
    "float16": default_hooks.fp16_compress_hook,
    "bfloat16": lambda group, bucket: default_hooks.bf16_compress_hook(group, bucket),
}
_STORE = "torch_ddp_store"
_STORE_TIMEOUT = timedelta(seconds=120)


class Backend(TorchBackend):
    """Gradients are averaged in buckets while the backward pass runs. One rank alone is wrapped as well."""

    wires = tuple(HOOKS)
    local_step = "DDP's forward and its hooks are left out"

    _on_nccl = False
    _exchange: Exchange | None = None  # our own all-reduce; None: the process group's

    def __init__(self) -> None:
        super().__init__()
        self._alone = GroupOperations()

    # ---- the ranks ----------------------------------------------------------------------------------------------

    def join(self) -> None:
        interface = "lo" if self.world.local_size == self.world.size else self.world.network_interface
        if interface is not None:
            os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = interface
        # NCCL refuses ranks that share a GPU.
        self._on_nccl = self.device.type == "cuda" and not anybody_shares(self.world, self.placed)
        if self._on_nccl and self.world.size > 1:
            nccl.listen()
        distributed.init_process_group(
            "nccl" if self._on_nccl else "gloo",
            store=_meet(self.world),
            rank=self.world.rank,
            world_size=self.world.size,
            device_id=self.device if self._on_nccl else None,
        )

    def barrier(self) -> None:
        self.fence()
        distributed.barrier()
        self.fence()

    def leave(self) -> None:
        self._stop_exchange()
        self._alone.stop()
        nccl.forget()
        if distributed.is_initialized():
            distributed.destroy_process_group()

    # ---- the exchange -------------------------------------------------------------------------------------------

    def wrap(self) -> None:
        self.wrapped = DistributedDataParallel(
            self.network,
            device_ids=[self.device.index] if self.device.type == "cuda" else None,
            **_bucket_option(self.trial.options.get("bucket_cap_mb"), self.trial.compiled),
            **self.tuning.wrapper,
            **_without_buffers(),
        )
        self._stop_exchange()
        hook = HOOKS[self.trial.wire]
        if self.trial.allreduce != "auto" and self.device.type == "cpu":
            self._exchange = Exchange(self.trial.allreduce, getattr(torch, self.trial.wire))
            self.wrapped.register_comm_hook(self._exchange, average_bucket)
        elif hook is not None:
            self.wrapped.register_comm_hook(None, hook)

    def _stop_exchange(self) -> None:
        if self._exchange is not None:
            self._exchange.stop()
        self._exchange = None

    @contextmanager
    def observe_exchange(self) -> Iterator[None]:
        calls = GroupCalls()
        if self._exchange is not None:
            self._exchange.observer = lambda tensor: calls.issued.append(Issued.of(tensor))
        with calls:
            yield
        if self._exchange is not None:
            self._exchange.observer = None
        # DDP regroups in the next forward: these are still the buckets of this step.
        buckets = [bucket.parameters() for bucket in self.wrapped.reducer._get_zeros_like_grad_buckets()]
        # The first step of a static graph, and no other, also adds up which parameters were used: no gradient is int32.
        gradients = [each for each in calls.issued if not (self.wrapped.static_graph and each.dtype == "int32")]
        self.exchanged = tally(gradients, list(self.model.named_parameters()), buckets)

    def local_loss(self, inputs: dict[str, Any], scales: tuple[float, ...]) -> tuple[Any, Any]:
        if self.compiler is None:
            return super().local_loss(inputs, scales)
        # torch.compile cuts its graphs at the bounds of DDP's buckets. With this the same graphs serve both.
        with self.wrapped._inside_ddp_forward():
            return super().local_loss(inputs, scales)

    def buckets(self) -> int | None:
        sizes = self._bucket_sizes()
        return None if sizes is None else len(sizes.split(","))

    def _bucket_sizes(self) -> str | None:
        """Bytes of each bucket, "1049328, 16684544", None before the first full step. DDP regroups after that step."""
        report = self.wrapped._get_ddp_logging_data()
        if not report.get("num_buckets_reduced"):
            return None
        sizes: str = report.get("rebuilt_bucket_sizes") or report["bucket_sizes"]
        return sizes

    def exchange_elements(self) -> list[int]:
        super().exchange_elements()  # its error: there has been no step
        # As the next forward would: from then on the buckets stay. All ranks agree on them here.
        self.wrapped.reducer._rebuild_buckets()
        return [bucket.buffer().numel() for bucket in self.wrapped.reducer._get_zeros_like_grad_buckets()]

    def operation(self, request: CollectiveRequest) -> Operation:
        return self._alone.of(request)

    def algorithm(self) -> tuple[str, str]:
        if self._exchange is None or self.world.size == 1:
            observed = self._on_nccl and self.world.size > 1
            return nccl.heard(self.world)[:2] if observed else group_algorithm("all_reduce")
        if not self._exchange.traffic.messages:
            return "none", "our own all-reduce was asked for, and its hook has sent nothing"
        return self._exchange.algorithm, self._exchange.evidence()

    def versions(self) -> dict[str, str]:
        ran = nccl.heard(self.world).version if self._on_nccl and self.world.size > 1 else None
        return {"nccl": ran} if ran else {}

    def wrapper_settings(self) -> dict[str, str | bool | int | float | None]:
        report = self.wrapped._get_ddp_logging_data()
        return {
            "communication": distributed.get_backend(),
            "bucket_cap_bytes": report["bucket_cap_bytes"],
            "bucket_bytes": self._bucket_sizes(),
            "gradient_as_bucket_view": bool(report["gradient_as_bucket_view"]),
            "static_graph": bool(self.wrapped.static_graph),
            "find_unused_parameters": bool(report["find_unused_parameters"]),
            "buffers_synchronised": bool(report["broadcast_buffers"]),
            "network_interface": os.environ.get("GLOO_SOCKET_IFNAME"),
        }


def _meet(world: World) -> Any:
    """The store through which the ranks exchange addresses. Listens on the world's address only, not on all."""
    if world.rank != 0:
        address, port = world.rendezvous.wait_for(_STORE).rsplit(":", 1)
        return distributed.TCPStore(address, int(port), world.size, is_master=False, timeout=_STORE_TIMEOUT)
    server = _listen(world.address, world.rendezvous_port)
    port = server.getsockname()[1]
    store = distributed.TCPStore(
        world.address,
        port,
        world.size,
        is_master=True,
        wait_for_workers=False,
        timeout=_STORE_TIMEOUT,
        master_listen_fd=server.detach(),
    )
    world.rendezvous.publish(_STORE, f"{world.address}:{port}")
    return store


def _listen(address: str, port: int) -> socket.socket:
    try:
        return socket.create_server((address, port))
    except OSError as error:
        raise TrialError(
            f"rendezvous port {port} on {socket.gethostname()} is already in use; choose another `rendezvous_port` "
            f"or 0 for any free one"
        ) from error


def _bucket_option(megabytes: object, compiled: bool) -> dict[str, float]:
    if megabytes is None:
        return {}
    if isinstance(megabytes, bool) or not isinstance(megabytes, int | float) or megabytes <= 0:
        raise TrialError(f"bucket_cap_mb must be a number above 0, not {megabytes!r}")
    # torch.compile cuts its first graph at DDP's default for the first bucket, and wants no other to be smaller.
    if compiled and megabytes < 1:
        raise TrialError(f"with `compile` bucket_cap_mb must be at least 1, not {megabytes!r}")
    return {"bucket_cap_mb": megabytes}


def _without_buffers() -> dict[str, bool]:
    """BERT's buffers are constants; DDP would broadcast them before every forward. The option's name has changed."""
    names = inspect.signature(DistributedDataParallel.__init__).parameters
    return {"forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers": False}


_CONFORMS: type[Protocol] = Backend
