"""Copies of a training's state: what comes later does not change them, and they load like the state itself."""

import io
from typing import Any

import torch
from ssl_sweep.methods.snapshot import Snapshot
from torch import nn


def loaded(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), weights_only=True)


def test_later_steps_do_not_change_a_snapshot() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimizer.zero_grad()
        model(torch.randn(2, 3, 8, 8)).square().mean().backward()
        optimizer.step()

    step()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epochs": [{"top1": 1.5}], "step": 1}
    then = io.BytesIO()
    torch.save(state, then)
    snapshot = Snapshot(state)
    step()
    content = snapshot.to_bytes(b"header\n")
    assert content.startswith(b"header\n")
    found, expected = loaded(content[7:]), loaded(then.getvalue())
    assert found["step"] == 1 and found["epochs"] == [{"top1": 1.5}]
    assert found["model"].keys() == expected["model"].keys()
    for key, value in expected["model"].items():
        assert torch.equal(found["model"][key], value)
        assert found["model"][key].stride() == value.stride()
    assert found["model"]._metadata == expected["model"]._metadata  # the versions of the modules
    assert found["optimizer"]["param_groups"] == expected["optimizer"]["param_groups"]
    for index, values in expected["optimizer"]["state"].items():
        assert all(torch.equal(found["optimizer"]["state"][index][key], value) for key, value in values.items())


def test_what_shares_memory_is_kept_once() -> None:
    weight = torch.randn(100, 100)
    once, twice = Snapshot({"a": weight}).to_bytes(), Snapshot({"a": weight, "b": weight.detach()}).to_bytes()
    assert len(twice) < len(once) + 4000
    assert torch.equal(loaded(twice)["b"], weight)
