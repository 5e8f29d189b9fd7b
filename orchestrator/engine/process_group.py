"""How the workers of a group find each other."""

import uuid
from typing import Any

import ray
import ray.util
from ray.train.torch import TorchConfig
from ray.train.torch.config import (
    _set_torch_distributed_env_vars,  # pyright: ignore[reportPrivateUsage]
    _setup_torch_process_group,  # pyright: ignore[reportPrivateUsage]
    _TorchBackend,  # pyright: ignore[reportPrivateUsage]
)

LOOPBACK = "127.0.0.1"


def process_group(backend: str, scratch: str) -> TorchConfig:
    """`backend` is ``nccl`` or ``gloo``, `scratch` a folder of this machine."""
    if ray.util.get_node_ip_address() != LOOPBACK:
        return TorchConfig(backend=backend)
    return _OnThisMachine(backend=backend, init_method=f"file://{scratch}/rendezvous-")


class _OnThisMachine(TorchConfig):
    """Through a file: torch's own server listens on all interfaces, whatever address it is given, and asks for no token."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        return _FileBackend


class _FileBackend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        """As Ray's, with a new file for each start of the group."""
        where = f"{backend_config.init_method}{uuid.uuid4().hex}"
        worker_group.execute(_set_torch_distributed_env_vars)
        ranks = len(worker_group)
        joins = [
            worker_group.execute_single_async(
                rank,
                _setup_torch_process_group,
                backend=backend_config.backend,
                world_rank=rank,
                world_size=ranks,
                init_method=where,
                timeout_s=backend_config.timeout_s,
            )
            for rank in range(ranks)
        ]
        ray.get(joins)
