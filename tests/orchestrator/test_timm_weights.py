"""Weights of timm's own, from the caches of this machine."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from click.testing import CliRunner
from huggingface_hub.file_download import repo_folder_name
from in_process import carry
from safetensors.torch import load_file
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.spec.errors import SpecError
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.sweep.status import plan_rows, stored_sweep
from ssl_sweep.orchestrator.sweep.weights import expanded

SweepFile = Callable[..., Path]
KNN: list[Any] = [{"name": "knn", "k": 20}]


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty cache of Hugging Face's hub; torch's is beside it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "torch"))
    return tmp_path / "hub"


def put(hub: Path, name: str, content: bytes, file: str = "model.safetensors") -> str:
    """Lay a file of timm's repository `name` out as a download does; returns its SHA-256."""
    folder = hub / repo_folder_name(repo_id=f"timm/{name}", repo_type="model")
    blob = folder / "blobs" / hashlib.sha256(content).hexdigest()
    snapshot = folder / "snapshots" / ("0" * 40)
    for path in (blob.parent, snapshot, folder / "refs"):
        path.mkdir(parents=True, exist_ok=True)
    blob.write_bytes(content)
    (folder / "refs" / "main").write_text(snapshot.name)
    (snapshot / file).symlink_to(Path("../../blobs") / blob.name)
    return blob.name


def network(name: str, seed: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return {key: tensor.contiguous() for key, tensor in timm.create_model(name).state_dict().items()}


def given(path: Path) -> list[TrialSpec]:
    """The trials of a sweep, its weights in its store."""
    spec, document = load_spec(path)
    return expanded(spec, document, read=True, keep=True)[1]


def test_weights_of_the_cache_are_those_that_the_backbone_begins_with(
    hub: Path, sweep_file: SweepFile, tmp_path: Path
) -> None:
    tensors = network("test_resnet", seed=1)
    sha256 = put(hub, "test_resnet.r160_in1k", safetensors.torch.save(tensors))
    methods = [{"name": "pretrained", "weights": "timm"}, "random"]
    path = sweep_file(methods=methods, backbone="test_resnet", evaluate=KNN)
    trial, _ = given(path)
    assert trial.backbone.weights is not None and trial.backbone.weights.sha256 == sha256
    folder = carry(trial, tmp_path / "runs")
    own = load_file(folder.store.path(folder.name("backbone.safetensors")))
    assert own and all(torch.equal(tensor, tensors[name]) for name, tensor in own.items())
    assert [row.label for row in plan_rows(path)] == ["pretrained from timm r160_in1k seed 0", "random seed 0"]


def test_the_content_is_the_identity(hub: Path, sweep_file: SweepFile, tmp_path: Path) -> None:
    """As a file of the user's it is the same trial, and so it is by its tag."""
    content = safetensors.torch.save(network("test_resnet", seed=1))
    put(hub, "test_resnet.r160_in1k", content)
    (tmp_path / "mine.safetensors").write_bytes(content)
    ids: set[str] = set()
    for weights in ("timm", "timm:r160_in1k", {"timm": "r160_in1k", "title": "Theirs"}, "mine.safetensors"):
        path = sweep_file(methods=["byol"], backbone={"name": "test_resnet", "weights": weights}, evaluate=KNN)
        ids |= {row.trial for row in plan_rows(path)}
    assert len(ids) == 1


def test_what_was_downloaded_from_an_address_is_in_torch_s_folder(
    hub: Path, sweep_file: SweepFile, tmp_path: Path
) -> None:
    folder = tmp_path / "torch" / "checkpoints"
    folder.mkdir(parents=True)
    torch.save(network("resnet10t", seed=2), folder / "resnet10t_176_c3-f3215ab1.pth")
    (trial,) = given(sweep_file(methods=[{"name": "byol", "weights": "timm:c3_in1k"}], backbone="resnet10t"))
    digest = hashlib.sha256((folder / "resnet10t_176_c3-f3215ab1.pth").read_bytes()).hexdigest()
    assert trial.backbone.weights is not None and trial.backbone.weights.sha256 == digest


def test_each_backbone_of_a_grid_has_its_own(hub: Path, sweep_file: SweepFile) -> None:
    for seed, name in enumerate(("test_resnet.r160_in1k", "test_vit.r160_in1k")):
        put(hub, name, safetensors.torch.save(network(name.partition(".")[0], seed)))
    names = ["test_resnet", "test_vit"]
    path = sweep_file(
        methods=["pretrained"], evaluate=KNN, grid={"backbone": [{"name": name, "weights": "timm"} for name in names]}
    )
    digests = {trial.backbone.weights.sha256 for trial in given(path) if trial.backbone.weights}
    assert len(digests) == 2
    ambiguous = {"backbone": "test_resnet", "methods": [{"name": "pretrained", "weights": "timm"}]}
    with pytest.raises(SpecError, match=r"methods\[0\]\.weights: 'timm' means other weights for each backbone"):
        given(sweep_file(**ambiguous, grid={"backbone.name": names}))


def test_a_sweep_is_shown_when_the_cache_is_gone(hub: Path, sweep_file: SweepFile, tmp_path: Path) -> None:
    put(hub, "test_resnet.r160_in1k", safetensors.torch.save(network("test_resnet", seed=1)))
    path = sweep_file(methods=[{"name": "pretrained", "weights": "timm"}], backbone="test_resnet", evaluate=KNN)
    (trial,) = given(path)
    folder = carry(trial, tmp_path / "runs")
    item = {"id": folder.trial_id, "trial": json.loads(trial.model_dump_json())}
    (tmp_path / "runs/sweeps/small").mkdir(parents=True)
    (tmp_path / "runs/sweeps/small/trials.json").write_text(json.dumps({"trials": [item]}))
    hub.rename(tmp_path / "elsewhere")
    assert [one.title for one in stored_sweep(path).result("").trials] == ["timm r160_in1k"]


BAD: dict[str, tuple[str, Any, str]] = {
    "not in a cache": (
        "resnet10t",
        "timm",
        "'timm' is not in timm's cache on this machine: looked for model.safetensors (or pytorch_model.bin) of the Hugging Face"
        " repository timm/resnet10t.c3_in1k in {folder}/hub, and for resnet10t_176_c3-f3215ab1.pth in {folder}/torch/checkpoints."
        ' Nothing is downloaded here; on a machine with a network, python -c "import timm;'
        " timm.create_model('resnet10t.c3_in1k', pretrained=True)\" fills the cache, which can be copied",
    ),
    "unknown tag": (
        "resnet10t",
        "timm:c3_in2k",
        "'timm:c3_in2k' cannot be used: timm has no weights 'c3_in2k' for 'resnet10t'; did you mean 'c3_in1k'? (c3_in1k)",
    ),
    "two tags": (
        "resnet50.a1_in1k",
        "timm:a2_in1k",
        "'timm:a2_in1k' is not of backbone 'resnet50.a1_in1k', whose name has the tag 'a1_in1k'; give it one of the two",
    ),
    "none": ("resnet18-cifar", "timm", "'timm' cannot be used: timm has no weights for backbone 'resnet18-cifar'"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_had_is_one_clear_error(case: str, hub: Path, sweep_file: SweepFile, tmp_path: Path) -> None:
    name, weights, message = BAD[case]
    path = sweep_file(backbone={"name": name, "weights": weights}, evaluate=KNN)
    result = CliRunner().invoke(main, ["validate", str(path)])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.endswith(f"backbone.weights: {message.format(folder=tmp_path)}")
    assert not hub.exists()


def test_the_command_evaluate_takes_them(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    driven: list[Path] = []
    monkeypatch.setattr("ssl_sweep.orchestrator.cli.evaluate.drive", lambda path, *_, **__: driven.append(path))
    monkeypatch.chdir(tmp_path)
    put(hub, "test_resnet.r160_in1k", safetensors.torch.save(network("test_resnet", seed=1)))
    options = ["--dataset", "digits", "--backbone", "test_resnet", "--evaluate", "{name: knn, k: 20}"]
    for extra in ([], ["--title", "Theirs"]):
        result = CliRunner().invoke(main, ["evaluate", "timm", *options, *extra], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    names = [trial.backbone.weights.name for path in driven for trial in given(path) if trial.backbone.weights]
    assert names == ["timm r160_in1k", "Theirs"]
