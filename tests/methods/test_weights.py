"""Weights in the layouts of other libraries, made of one small network and read back: its features are the same."""

import argparse
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import Encoder, build_encoder, export
from ssl_sweep.methods.weight_files import WeightsError, find_file, tensors_in
from ssl_sweep.methods.weights import Match, load_weights, match_weights
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn
from tiny import IMAGE_SIZE, VIT
from torch import Tensor, nn

RESNET = BackboneConfig(name="resnet10t", options={"stem_type": ""})
State = Mapping[str, Tensor]


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def vit() -> Encoder:
    return trained(VIT)


@pytest.fixture(scope="module")
def resnet() -> Encoder:
    return trained(RESNET)


def trained(config: BackboneConfig) -> Encoder:
    """With values that no initialisation has, in every tensor."""
    encoder = build_encoder(config, IMAGE_SIZE)
    generator = torch.Generator().manual_seed(1)
    for tensor in encoder.model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2 + 0.05)
    return encoder.eval()


def features(encoder: Encoder, size: int = IMAGE_SIZE) -> Tensor:
    with torch.no_grad():
        return encoder.eval()(torch.linspace(-1, 1, 2 * 3 * size * size).view(2, 3, size, size))


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def under(prefix: str, state: State) -> dict[str, Tensor]:
    return {f"{prefix}{name}": tensor for name, tensor in state.items()}


def noise(state: State, prefix: str) -> dict[str, Tensor]:
    """The same network with other weights, as a student's beside a teacher's."""
    return {f"{prefix}{name}": tensor + 1 for name, tensor in state.items()}


def read(content: bytes, config: BackboneConfig, size: int = IMAGE_SIZE, **settings: Any) -> tuple[Encoder, Match]:
    encoder = build_encoder(config, size)
    match = match_weights(tensors_in(content), encoder, **settings)
    load_weights(encoder, match)
    return encoder, match


HEAD = {"head.weight": torch.zeros(5, 48)}
ANY: dict[str, Callable[[State], object]] = {
    "timm": lambda own: own,
    "timm, with a moving average": lambda own: {"state_dict": noise(own, ""), "state_dict_ema": own, "epoch": 3},
    "Lightly": lambda own: {"state_dict": under("backbone.", own) | {"projection_head.0.weight": torch.zeros(3)}},
    "Lightly, student and teacher": lambda own: {
        "state_dict": noise(own, "student_backbone.") | under("teacher_backbone.", own)
    },
    "Lightly, of a timm ViT": lambda own: {"state_dict": under("backbone.vit.", own)},
    "solo-learn": lambda own: {
        "state_dict": under("backbone.", own) | noise(own, "momentum_backbone."),
        "hyper_parameters": argparse.Namespace(lr=0.1),
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(3)}}}],
    },
    "MoCo": lambda own: {
        "epoch": 200,
        "state_dict": noise(own, "module.encoder_k.") | under("module.encoder_q.", own) | {"queue": torch.zeros(4)},
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.03}]},
    },
    "MoCo v3": lambda own: {"state_dict": under("module.base_encoder.", own) | noise(own, "module.momentum_encoder.")},
    "DINO": lambda own: {
        "student": noise(own, "module.backbone.") | {"module.head.mlp.0.weight": torch.zeros(2)},
        "teacher": under("backbone.", own) | {"head.mlp.0.weight": torch.zeros(2)},
        "args": argparse.Namespace(arch="vit_small", out_dim=65536),
        "best": np.float64(77.0),
    },
    "MAE": lambda own: {"model": {**own, "mask_token": torch.zeros(1), "decoder_blocks.0.norm1.weight": torch.ones(2)}},
    "ours": lambda own: {"method": noise(own, "student.encoder.model.") | under("teacher.module.encoder.model.", own)},
    "torch.compile": lambda own: {"model": under("_orig_mod.backbone.", own)},
}
"""What differs only in what stands before the names, for any network."""


@pytest.mark.parametrize("layout", ANY)
@pytest.mark.parametrize("kind", ["vit", "resnet"])
def test_a_network_in_another_container_has_the_same_features(layout: str, kind: str, request: Any) -> None:
    encoder: Encoder = request.getfixturevalue(kind)
    content = ANY[layout](export(encoder)[0])
    again, match = read(saved(content), VIT if kind == "vit" else RESNET)
    assert match.is_whole and match.found == match.total
    assert torch.equal(features(again), features(encoder))


def test_the_better_of_two_networks_is_taken_and_said(vit: Encoder) -> None:
    content = saved(ANY["DINO"](export(vit)[0]))
    _, match = read(content, VIT)
    assert match.place == "teacher.backbone" and match.also == ("student.module.backbone",)
    assert "under 'teacher.backbone'; before 'student.module.backbone', which would fit as well" in str(match)
    other, match = read(content, VIT, prefix="student.module.backbone")
    assert match.also == () and not torch.equal(features(other), features(vit))


def test_safetensors_and_half_precision(vit: Encoder) -> None:
    tensors, _ = export(vit)
    again, match = read(safetensors.torch.save(dict(tensors)), VIT)
    assert torch.equal(features(again), features(vit)) and match.left_over == ()
    _, match = read(safetensors.torch.save({name: tensor.half() for name, tensor in tensors.items()}), VIT)
    assert match.converted == ("float16",) and all(t.dtype == torch.float32 for t in match.tensors.values())


def randomised(model: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(2)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.2 + 0.05)
    return model.eval()


def of(model: nn.Module, size: int = IMAGE_SIZE) -> Tensor:
    with torch.no_grad():
        return model(torch.linspace(-1, 1, 2 * 3 * size * size).view(2, 3, size, size))


@pytest.fixture(scope="module")
def torchvision_vit() -> nn.Module:
    made = torchvision.models.VisionTransformer(
        image_size=IMAGE_SIZE, patch_size=8, num_layers=2, num_heads=3, hidden_dim=48, mlp_dim=192
    )
    made.heads = nn.Sequential()  # type: ignore[assignment]
    return randomised(made)


def test_torchvision_s_vit(torchvision_vit: nn.Module) -> None:
    state = torchvision_vit.state_dict()
    older = {n.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): t for n, t in state.items()}
    for content in (state, older, {"state_dict": under("backbone.vit.", state)}):
        again, match = read(saved(content), VIT)
        assert match.is_whole and match.layout.startswith("torchvision")
        torch.testing.assert_close(features(again), of(torchvision_vit), rtol=1e-4, atol=1e-5)


def test_torchvision_s_resnet_as_a_model_and_as_a_sequence_of_its_children() -> None:
    made = randomised(torchvision.models.resnet18())
    children = nn.Sequential(*list(made.children())[:-1])
    head = made.fc
    made.fc = nn.Identity()  # type: ignore[assignment]
    expected = of(made)
    made.fc = head
    config = BackboneConfig(name="resnet18")
    again, match = read(saved(made.state_dict()), config)
    assert match.left_over == ("fc.weight", "fc.bias") and match.layout == "timm"
    torch.testing.assert_close(features(again), expected, rtol=1e-4, atol=1e-5)
    again, match = read(saved({"state_dict": under("backbone.", children.state_dict())}), config)
    assert match.layout == "nn.Sequential" and match.place == "state_dict.backbone"
    torch.testing.assert_close(features(again), expected, rtol=1e-4, atol=1e-5)


def test_lightly_s_own_resnet_for_small_images() -> None:
    """Its children are numbered without the ReLU and the pooling, and its shortcuts are called so."""
    encoder = trained(BackboneConfig(name="resnet18-cifar"))
    stages = {"conv1": "0", "bn1": "1"} | {f"layer{i}": str(i + 1) for i in range(1, 5)}
    state: dict[str, Tensor] = {}
    for name, tensor in export(encoder)[0].items():
        first, _, rest = name.partition(".")
        state[f"backbone.{stages[first]}.{rest.replace('downsample', 'shortcut')}"] = tensor
    again, match = read(saved({"state_dict": state}), BackboneConfig(name="resnet18-cifar"))
    assert match.layout == "nn.Sequential of Lightly's ResNet"
    assert torch.equal(features(again), features(encoder))


def test_a_timm_model_at_another_size_has_timm_s_features(tmp_path: Path) -> None:
    """Positions are resampled as timm does it; also those of an MAE, with a decoder beside them."""
    options = VIT.options
    made = randomised(timm.create_model(VIT.name, img_size=48, **options))
    path = tmp_path / "model.pth"
    torch.save(made.state_dict(), path)
    there = timm.create_model(VIT.name, img_size=IMAGE_SIZE, num_classes=0, **options).eval()
    there.load_state_dict(checkpoint_filter_fn(made.state_dict(), cast(VisionTransformer, there)), strict=False)
    again, match = read(path.read_bytes(), VIT)
    assert match.resampled == "6 x 6 to 4 x 4 patches" and match.left_over == ("head.weight", "head.bias")
    torch.testing.assert_close(features(again), of(there), rtol=1e-5, atol=1e-6)


def test_dinov2_with_registers_has_timm_s_features() -> None:
    """The class token has a position there, and none in timm's model."""
    options = {"patch_size": 8, "embed_dim": 48, "depth": 2, "num_heads": 3}
    config = BackboneConfig(name="vit_small_patch14_reg4_dinov2", options=options)
    encoder = trained(config)
    own = export(encoder)[0]
    token = torch.rand(1, 1, 48)
    state = {name: tensor for name, tensor in own.items() if name not in ("reg_token", "cls_token", "pos_embed")}
    state |= {
        "register_tokens": own["reg_token"],
        "cls_token": own["cls_token"] - token,
        "pos_embed": torch.cat([token, own["pos_embed"]], dim=1),
        "mask_token": torch.zeros(1, 48),
    }
    again, match = read(saved(state), config)
    assert match.layout == "DINOv2 with registers" and match.left_over == ("mask_token",)
    torch.testing.assert_close(features(again), features(encoder), rtol=1e-4, atol=1e-5)


def test_counters_that_old_files_lack_do_not_count(resnet: Encoder) -> None:
    state = {name: t for name, t in export(resnet)[0].items() if not name.endswith("num_batches_tracked")}
    again, match = read(saved(state), RESNET)
    assert match.is_whole and torch.equal(features(again), features(resnet))


def test_what_is_not_whole_is_refused_unless_it_may_be(vit: Encoder, resnet: Encoder) -> None:
    state = {name: tensor for name, tensor in export(vit)[0].items() if not name.startswith("blocks.1.mlp")}
    with pytest.raises(
        WeightsError, match=r"has 26 of the 30 tensors .*; not in the file: blocks\.1\.mlp\.fc1\.weight,"
    ):
        read(saved(state), VIT)
    _, match = read(saved(state), VIT, partial=True)
    assert len(match.missing) == 4 and not match.is_whole
    state = export(resnet)[0] | {"conv1.weight": torch.zeros(64, 3, 3, 3)}
    with pytest.raises(WeightsError, match=r"of another shape: conv1\.weight \(\[64, 3, 3, 3\] instead of"):
        read(saved(state), RESNET)
    with pytest.raises(WeightsError, match=r"the file's are features\.weight$"):
        read(saved({"features.weight": torch.zeros(3)}), VIT, partial=True)
    with pytest.raises(WeightsError, match="nothing of the backbone under 'student'"):
        read(saved({"teacher": export(vit)[0]}), VIT, prefix="student")


def test_weights_that_are_not_finite_are_refused(vit: Encoder) -> None:
    tensors = {name: tensor.clone() for name, tensor in export(vit)[0].items()}
    tensors["blocks.0.attn.qkv.bias"][3] = torch.nan
    with pytest.raises(WeightsError, match=r"not finite: in 'blocks\.0\.attn\.qkv\.bias'"):
        read(saved(tensors), VIT)


class Evil:
    def __reduce__(self) -> Any:
        return print, ("run by the file",)


def test_nothing_of_a_file_is_run(vit: Encoder, capsys: pytest.CaptureFixture[str]) -> None:
    again, _ = read(saved({"model": export(vit)[0], "extra": Evil()}), VIT)
    assert torch.equal(features(again), features(vit))
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"no weights", "is a text file"),
        (saved({"a": torch.zeros(3)})[:-200], "cannot be read"),
        (safetensors.torch.save({"a": torch.zeros(300)})[:-200], "cannot be read"),
        (saved([torch.zeros(3)]), "holds no tensors by name"),
    ],
)
def test_what_is_no_file_of_weights_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        tensors_in(content)


def test_a_folder_has_one_file_of_weights(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        find_file(tmp_path / "absent.pth")
    with pytest.raises(WeightsError, match="but has none"):
        find_file(tmp_path)
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(WeightsError, match="must be a folder, or end in"):
        find_file(tmp_path / "notes.txt")
    (tmp_path / "a.pth.tar").write_bytes(b"")
    assert find_file(tmp_path) == tmp_path / "a.pth.tar"
    (tmp_path / "b.ckpt").write_bytes(b"")
    with pytest.raises(WeightsError, match=r"has 2 of them: a\.pth\.tar, b\.ckpt"):
        find_file(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert find_file(tmp_path) == tmp_path / "model.safetensors"
