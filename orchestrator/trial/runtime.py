"""Where a trial runs: one process or one of a group, on a device; how its ranks agree, and what they spend."""

import logging
import os
import platform
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from ...methods.parts.precision import precision_modes
from ..store.records import Cost
from ..store.version import git_commit, package_version

log = logging.getLogger(__name__)

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class Pulse:
    """When a worker last came to where the ranks of its trial meet: after each step, and between stages."""

    def __init__(self) -> None:
        self._met = time.monotonic()

    def beat(self) -> None:
        self._met = time.monotonic()

    @property
    def idle_seconds(self) -> float:
        return time.monotonic() - self._met


@dataclass(frozen=True)
class Runtime:
    """One worker of a trial."""

    device: torch.device
    rank: int = 0
    world_size: int = 1
    checkpoint_seconds: float = 300.0
    compile: bool = False
    decoders: int = 0
    """Processes of this worker that decode images; without any it decodes them itself."""
    gpus: float = 1.0
    """Of this worker, if it has any: a part of one if trials share it."""
    pulse: Pulse = field(default_factory=Pulse, compare=False)

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def place(self, module: ModuleT) -> ModuleT:
        """`module` on the device; on a GPU the channels of its filters lie last, as its convolutions want them."""
        if self.device.type == "cuda":
            module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        return module.to(self.device)

    def agree(self, code: int) -> int:
        """Rank 0's `code`, on every rank."""
        self.pulse.beat()
        if self.world_size == 1:
            return code
        message = torch.tensor([code])
        dist.broadcast(message, 0, group=_control_group())
        return int(message.item())

    def largest(self, values: list[float]) -> list[float]:
        """Element by element, the largest over the ranks."""
        if self.world_size == 1:
            return values
        message = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(message, dist.ReduceOp.MAX, group=_control_group())
        return message.tolist()


@cache
def _control_group() -> Any:
    """A group for small messages between CPUs, so that a question costs the GPU no wait."""
    return dist.new_group(backend="gloo")


@dataclass
class Meter:
    """What is being spent; `cost` is set when the measured block ends."""

    cost: Cost = field(default_factory=lambda: Cost(seconds=0, workers=1, device="cpu"))


@contextmanager
def measured(runtime: Runtime) -> Generator[Meter]:
    """Measure wall time and peak memory of a block; memory is that of the busiest rank."""
    meter = Meter()
    on_gpu = runtime.device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize(runtime.device)
        torch.cuda.reset_peak_memory_stats(runtime.device)
    else:
        _reset_peak_resident()
    start = time.perf_counter()
    yield meter
    if on_gpu:
        torch.cuda.synchronize(runtime.device)
        peaks = [torch.cuda.max_memory_allocated(runtime.device), torch.cuda.max_memory_reserved(runtime.device)]
    else:
        peaks = [_peak_resident()]
    largest = [int(peak) for peak in runtime.largest([float(peak) for peak in peaks])]
    meter.cost = Cost(
        seconds=time.perf_counter() - start,
        workers=runtime.world_size,
        device=torch.cuda.get_device_name(runtime.device) if on_gpu else "cpu",
        gpus=runtime.gpus if on_gpu else None,
        gpu_allocated=largest[0] if on_gpu else None,
        gpu_reserved=largest[1] if on_gpu else None,
        resident=None if on_gpu else largest[0],
    )


def memory_in_use(device: torch.device) -> int:
    """Bytes: what torch holds of the GPU, or the resident memory of this process."""
    if device.type == "cuda":
        return torch.cuda.memory_reserved(device)
    import psutil

    return int(psutil.Process().memory_info().rss)


def _reset_peak_resident() -> None:
    """Linux keeps the peak of a process until it is told to forget it; elsewhere the peak is of the whole process."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        log.debug("the peak of resident memory cannot be reset here")


def _peak_resident() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return memory_in_use(torch.device("cpu"))


@cache
def environment() -> dict[str, str]:
    """Versions, hardware and the git commit: what a number needs beside it."""
    packages = ("torch", "torchvision", "timm", "ray", "mlflow", "pyarrow", "numpy")
    values = {"ssl-sweep": package_version()} | {name: version(name) for name in packages if _installed(name)}
    values |= {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu_name(),
        "cpus": str(os.cpu_count()),
        "torch_threads": str(torch.get_num_threads()),
    }
    if torch.cuda.is_available():
        values |= {
            "gpu": torch.cuda.get_device_name(),
            "cuda": str(torch.version.cuda),
            "cudnn": str(torch.backends.cudnn.version()),
        }
        values |= precision_modes()
    commit = git_commit()
    return values | ({"git_commit": commit} if commit else {})


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
