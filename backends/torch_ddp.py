"""PyTorch with DistributedDataParallel, over Gloo on CPUs and NCCL on GPUs."""

from __future__ import annotations

import inspect
import os
import socket
from datetime import timedelta
from typing import Any

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from backends._torch import TorchBackend
from bench.errors import TrialError
from bench.protocols import Backend as Protocol
from bench.protocols import World

_STORE = "torch_ddp_store"
_STORE_TIMEOUT = timedelta(seconds=120)


class Backend(TorchBackend):
    """Gradients are averaged in buckets while the backward pass runs. One rank alone is wrapped as well."""

    local_step = "DDP's forward and its hooks are left out"

    # ---- the ranks ----------------------------------------------------------------------------------------------

    def join(self) -> None:
        interface = "lo" if self.world.local_size == self.world.size else self.world.network_interface
        if interface is not None:
            os.environ["GLOO_SOCKET_IFNAME"] = os.environ["NCCL_SOCKET_IFNAME"] = interface
        distributed.init_process_group(
            "nccl" if self.device.type == "cuda" else "gloo",
            store=_meet(self.world),
            rank=self.world.rank,
            world_size=self.world.size,
            device_id=self.device if self.device.type == "cuda" else None,
        )

    def barrier(self) -> None:
        self.fence()
        distributed.barrier()
        self.fence()

    def leave(self) -> None:
        if distributed.is_initialized():
            distributed.destroy_process_group()

    # ---- the exchange -------------------------------------------------------------------------------------------

    def wrap(self) -> None:
        self.wrapped = DistributedDataParallel(
            self.network,
            device_ids=[self.device.index] if self.device.type == "cuda" else None,
            **_bucket_option(self.trial.options.get("bucket_cap_mb")),
            **_without_buffers(),
        )

    def exchanged(self) -> tuple[int | None, int | None, int | None, str | None]:
        """From the buckets that DDP's reducer holds and reduces once per backward pass, not from the request."""
        sizes = self._bucket_sizes()
        if sizes is None:
            return None, None, None, None
        bucket_bytes = [int(size) for size in sizes.split(",")]
        dtypes = {parameter.grad.dtype for parameter in self.model.parameters()}
        if len(dtypes) != 1:
            return len(bucket_bytes), None, sum(bucket_bytes), None
        (dtype,) = dtypes
        return (
            len(bucket_bytes),
            sum(bucket_bytes) // dtype.itemsize,
            sum(bucket_bytes),
            str(dtype).removeprefix("torch."),
        )

    def _bucket_sizes(self) -> str | None:
        """Bytes of each bucket, "1049328, 16684544", None before the first full step. DDP regroups after that step."""
        report = self.wrapped._get_ddp_logging_data()
        if not report.get("num_buckets_reduced"):
            return None
        sizes: str = report.get("rebuilt_bucket_sizes") or report["bucket_sizes"]
        return sizes

    def algorithm(self) -> tuple[str, str]:
        if self.world.size == 1:
            return "none", "one rank: the all-reduce has nobody to exchange with"
        if distributed.get_backend() == "gloo":
            return "ring", "Gloo's all-reduce, as PyTorch calls it, has one algorithm for all sizes: a segmented ring"
        return "unknown", "NCCL chooses for each size; not observed"

    def versions(self) -> dict[str, str]:
        if self.device.type != "cuda":
            return {}
        return {"cuda": str(torch.version.cuda), "nccl": ".".join(map(str, torch.cuda.nccl.version()))}

    def wrapper_settings(self) -> dict[str, str | bool | int | float | None]:
        report = self.wrapped._get_ddp_logging_data()
        return {
            "communication": distributed.get_backend(),
            "bucket_cap_bytes": report["bucket_cap_bytes"],
            "bucket_bytes": self._bucket_sizes(),
            "gradient_as_bucket_view": bool(report["gradient_as_bucket_view"]),
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


def _bucket_option(megabytes: object) -> dict[str, float]:
    if megabytes is None:
        return {}
    if isinstance(megabytes, bool) or not isinstance(megabytes, int | float) or megabytes <= 0:
        raise TrialError(f"bucket_cap_mb must be a number above 0, not {megabytes!r}")
    return {"bucket_cap_mb": megabytes}


def _without_buffers() -> dict[str, bool]:
    """BERT's buffers are constants; DDP would broadcast them before every forward. The option's name has changed."""
    names = inspect.signature(DistributedDataParallel.__init__).parameters
    return {"forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers": False}


_CONFORMS: type[Protocol] = Backend
