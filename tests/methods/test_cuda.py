"""On a GPU: the same losses and views as on a CPU, and a step that never makes the CPU wait."""

import copy
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from ssl_sweep.datasets import DatasetConfig, views_on_gpu
from ssl_sweep.datasets.batches import training_batches
from ssl_sweep.datasets.geometry import central_crops, random_crops
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.random_stream import uniforms
from ssl_sweep.datasets.view_parameters import SLOTS, view_parameters
from ssl_sweep.datasets.views import Images, evaluation_view, make_view, normalised
from ssl_sweep.methods.base import Batch, Method, View
from ssl_sweep.methods.config import BackboneConfig, GaussianBlur, OptimizerConfig, Solarize, ViewConfig, ViewsConfig
from ssl_sweep.methods.optimizer import build_optimizer
from ssl_sweep.orchestrator.trial.pending_loss import PendingLoss
from ssl_sweep.orchestrator.trial.runtime import Runtime
from tiny import FITTING, IDS, RESNET, VIT, progress, tiny_batch, tiny_method

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

WAITING = {
    "deepclusterv2": "clusters its memory anew after each epoch",
    "mmcr": "singular values: the library looks whether they converged",
}
CUDA = Runtime(torch.device("cuda"))
RATES = {"drop_path_rate": 0.3, "proj_drop_rate": 0.1, "attn_drop_rate": 0.1}
DROPPING = [
    ("dino", BackboneConfig(name=VIT.name, options=VIT.options | RATES)),
    ("supervised", BackboneConfig(name=RESNET.name, options={"drop_path_rate": 0.3, "drop_rate": 0.1})),
]
every_method = pytest.mark.parametrize(
    ("name", "backbone"), FITTING + DROPPING, ids=[*IDS, "dino-vit-drops", "supervised-resnet-drops"]
)


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


def on_gpu(batch: Batch) -> Batch:
    def moved(views: list[View]) -> list[View]:
        return [View(view.image.cuda(), view.box.cuda()) for view in views]

    return Batch(moved(batch.global_views), moved(batch.local_views), batch.labels.cuda(), batch.samples.cuda())


def gradients(method: Method[Any], batch: Batch) -> tuple[float, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    loss = method.train()(batch, progress(4)).loss
    loss.backward()
    return loss.item(), {key: p.grad.cpu() for key, p in method.named_parameters() if p.grad is not None}


@every_method
def test_loss_and_gradients_are_those_of_a_cpu(name: str, backbone: BackboneConfig) -> None:
    method = tiny_method(name, backbone)
    batch = tiny_batch(method, batch_size=8)
    there = CUDA.place(copy.deepcopy(method))
    expected, wanted = gradients(method, batch)
    loss, found = gradients(there, on_gpu(batch))
    assert loss == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert found.keys() == wanted.keys()
    whole = sum(value.double().square().sum() for value in wanted.values()) ** 0.5
    error = sum((found[key].double() - wanted[key].double()).square().sum() for key in wanted) ** 0.5
    assert error <= 5e-3 * whole


@every_method
def test_a_step_makes_nobody_wait(name: str, backbone: BackboneConfig) -> None:
    if name in WAITING:
        pytest.skip(WAITING[name])
    method = CUDA.place(tiny_method(name, backbone)).train()
    optimizer = build_optimizer(method, OptimizerConfig(name="lars"), 4)
    batches = [on_gpu(tiny_batch(method, seed=step)) for step in range(2)]
    torch.cuda.synchronize()
    for step in (4, 5):  # the first is allowed to wait: libraries set themselves up
        torch.cuda.set_sync_debug_mode("error" if step == 5 else "default")
        try:
            with torch.autocast("cuda", torch.bfloat16):
                output = method(batches[step % 2], progress(step))
            optimizer.zero_grad()
            output.loss.backward()
            method.before_optimizer_step(progress(step))
            optimizer.step()
            method.after_optimizer_step(progress(step))
            pending = PendingLoss(output.loss, 1)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert np.isfinite(pending.wait())


@pytest.mark.parametrize("size", [32, 80])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_views_are_those_of_the_same_code_on_a_cpu(size: int, interpolation: str) -> None:
    view = ViewConfig.model_validate(
        {"interpolation": interpolation, "blur": GaussianBlur(p=0.5), "solarize": Solarize(p=0.3)}
    )
    pixels = torch.randint(0, 256, (64, 3, size, size), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    there = pixels.cuda()
    parameters = view_parameters(view, Images(pixels).sizes.numpy(), uniforms(0, 0, np.arange(64), 0, SLOTS))
    make_view(there, view, size // 2, parameters)  # once: constants are copied, libraries set themselves up
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = make_view(there, view, size // 2, parameters)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    geometry = random_crops(parameters.crop, parameters.flip, size // 2)
    expected = views_on_gpu.finish(views_on_gpu.cut(pixels, geometry, size // 2, interpolation), view, parameters)
    # a hue and a threshold are not continuous: one pixel in ten thousand may fall on the other side
    far = (found.cpu() - expected).abs() > 0.02
    assert far.double().mean() < 1e-4
    geometry = central_crops(Images(pixels).sizes.numpy(), size // 2)
    expected = normalised(views_on_gpu.cut(pixels, geometry, size // 2, "bilinear"))
    assert (evaluation_view(Images(there), size // 2).cpu() - expected).abs().max() < 1e-4


@pytest.mark.parametrize("encoded", [False, True])
def test_batches_made_ahead_are_those_of_a_cpu_and_end_when_closed(encoded: bool, tmp_path: Path) -> None:
    pytest.importorskip("numba", reason="views on a CPU are made with Numba")
    config = DatasetConfig(name="digits")
    if encoded:  # images of two sizes have to be decoded, in other processes
        for i in range(640):
            file = tmp_path / "images" / "ab"[i % 2] / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(i).integers(0, 256, (200, 200 + i % 2, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(file)
        config = DatasetConfig(name="folder", path=str(tmp_path / "images"), image_size=100)
    prepared = prepare(config, tmp_path / "store")
    views = ViewsConfig(global_views=(ViewConfig(count=2),))

    def batches(device: str) -> Generator[Batch, None, None]:
        images = ImageSet.open(prepared, "train", device=device, decoders=2)
        return training_batches(images, views, 32, seed=1, batch_size=64, start_step=3, total_steps=40)

    there, here = batches("cuda"), batches("cpu")
    for _ in range(25):  # into another epoch
        found, expected = next(there), next(here)
        assert torch.equal(found.samples.cpu(), expected.samples) and torch.equal(found.labels.cpu(), expected.labels)
        for view, other in zip(found.global_views, expected.global_views, strict=True):
            assert ((view.image.cpu() - other.image).abs() > 0.02).double().mean() < 1e-4
    there.close()
    assert next(there, None) is None
