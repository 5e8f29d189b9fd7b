"""Views on a GPU need exact products of float32, whatever the process or its environment allows."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from ssl_sweep.datasets import views_on_gpu
from ssl_sweep.datasets.geometry import central_crops
from ssl_sweep.methods.parts import precision
from ssl_sweep.methods.parts.precision import PrecisionError, full_products, precision_modes

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _rounded() -> Iterator[None]:
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    yield
    torch.backends.cuda.matmul.fp32_precision = "none"


def test_views_are_cut_in_full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def resample(*_: Any) -> torch.Tensor:
        seen.append(str(torch.backends.cuda.matmul.fp32_precision))
        return torch.zeros(1, 3, 8, 8)

    monkeypatch.setattr(views_on_gpu, "resample", resample)
    pixels = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    views_on_gpu.cut(pixels, central_crops(np.array([[8, 8]]), 8), 8, "bilinear")
    assert seen == ["ieee"]
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


def test_blocks_that_overlap_leave_the_settings_as_they_were() -> None:
    first, second = full_products(CPU), full_products(CPU)
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert torch.backends.cuda.matmul.fp32_precision == "ieee"  # the second is within its block
    second.__exit__(None, None, None)
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


def test_a_device_that_rounds_all_the_same_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = torch.Tensor.__matmul__
    monkeypatch.setattr(torch.Tensor, "__matmul__", lambda a, b: exact(a.bfloat16(), b.bfloat16()).float())
    monkeypatch.setenv(precision.FORCED, "1")
    with pytest.raises(PrecisionError, match="NVIDIA_TF32_OVERRIDE=1 in the environment allows it: unset it"):
        precision._check.__wrapped__(CPU)


def test_the_modes_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
    modes = precision_modes()
    assert modes["float32_products"] == "tf32" and modes["TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"] == "1"
