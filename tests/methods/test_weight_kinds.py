"""Files that are named as weights and are none: the message says what they are, and what is needed."""

import io

import pytest
import torch
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder
from ssl_sweep.methods.weight_files import WeightsError, tensors_in
from ssl_sweep.methods.weights import match_weights

RESNET = BackboneConfig(name="resnet10t", options={"stem_type": ""})
NEEDED = "; what is needed is a safetensors file, or what torch.save wrote"


def saved(content: object, *, zipped: bool = True) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped)
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"epoch 1 of 2\n", "a text file"),
        ("Gewichte für später".encode(), "a text file"),
        (b"<!DOCTYPE html><html></html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS, and not the file that it stands for"),
        (b"", "empty"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "no file of weights"),
    ],
)
def test_what_else_a_file_is(content: bytes, kind: str) -> None:
    with pytest.raises(WeightsError) as caught:
        tensors_in(content)
    assert str(caught.value) == f"is {kind}{NEEDED}"


@pytest.mark.parametrize("zipped", [True, False])
def test_files_that_are_cut_short_say_so_or_what_torch_says(zipped: bool) -> None:
    content = saved({"a": torch.zeros(300)}, zipped=zipped)
    assert torch.equal(tensors_in(content)["a"], torch.zeros(300))
    for end in (3, len(content) // 2):
        with pytest.raises(WeightsError, match=r"^cannot be read as safetensors or a PyTorch checkpoint: \D{10,}"):
            tensors_in(content[:end] if end > 3 else b"\x80\x02")


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.bool])
def test_whole_numbers_are_no_weights(dtype: torch.dtype) -> None:
    encoder = build_encoder(RESNET, 16)
    state = encoder.model.state_dict()
    assert match_weights({name: tensor.double() for name, tensor in state.items()}, encoder).is_whole
    with pytest.raises(
        WeightsError, match=r"^holds whole numbers where weights are needed: \S+ \((int8|int64|bool)\), "
    ):
        match_weights({name: tensor.to(dtype) for name, tensor in state.items()}, encoder)
    one = next(iter(state))
    with pytest.raises(WeightsError, match=f"whole numbers where weights are needed: {one} "):
        match_weights({**state, one: state[one].to(dtype)}, encoder, partial=True)
