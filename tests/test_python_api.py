"""The functions of `ssl_sweep` itself: what is imported, what they return, what they raise."""

import subprocess
import sys
from pathlib import Path

import pytest
import ssl_sweep
import torch
import yaml
from safetensors.torch import save
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder, export

SMALL = {
    "name": "small",
    "dataset": {"name": "digits", "train_images": 320, "test_images": 100},
    "backbone": "resnet18-cifar",
    "methods": ["simclr", "byol"],
    "evaluate": ["knn"],
}


@pytest.fixture
def sweep_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_SWEEP_DATA", str(tmp_path / "data"))
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return path


def test_importing_the_package_imports_nothing_of_it() -> None:
    code = "import sys, ssl_sweep; print([name for name in sys.modules if name.startswith(('ssl_sweep.', 'torch', 'ray'))])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_checking_and_planning_import_neither_torch_nor_ray_nor_mlflow(sweep_file: Path) -> None:
    code = f"import sys, ssl_sweep; ssl_sweep.load({str(sweep_file)!r}); print({{'torch', 'ray', 'mlflow'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_public_name_is_there_and_documented() -> None:
    found = {name: getattr(ssl_sweep, name) for name in ssl_sweep.__all__}
    assert [name for name, value in found.items() if name != "__version__" and not value.__doc__] == []
    assert set(ssl_sweep.__all__) <= set(dir(ssl_sweep))


def test_a_sweep_is_loaded_and_planned(sweep_file: Path) -> None:
    sweep = ssl_sweep.load(sweep_file)
    assert [trial.method.name for trial in sweep.trials] == ["simclr", "byol"]
    assert [row.missing[-1] for row in ssl_sweep.plan(sweep)] == ["knn", "knn"]


def test_errors_are_our_own_with_their_places(sweep_file: Path) -> None:
    sweep_file.write_text(yaml.safe_dump({**SMALL, "methods": ["simclr", "simclor"]}))
    with pytest.raises(ssl_sweep.SpecError, match="did you mean 'simclr'") as raised:
        ssl_sweep.load(sweep_file)
    assert raised.value.problems[0].position[0] > 1
    assert isinstance(raised.value, ssl_sweep.UserError)


def test_results_of_a_sweep_that_never_ran_are_an_error(sweep_file: Path) -> None:
    with pytest.raises(ssl_sweep.UserError, match="nothing has run"):
        ssl_sweep.results(sweep_file)


def test_a_job_is_not_submitted_from_python(sweep_file: Path) -> None:
    with pytest.raises(ssl_sweep.UserError, match="ssl-sweep submit"):
        ssl_sweep.submit(sweep_file, address="http://head:8265")


def test_a_wrong_argument_of_evaluate_is_named(tmp_path: Path) -> None:
    with pytest.raises(ssl_sweep.UserError, match=r"^evaluations"):
        ssl_sweep.evaluate("w.pt", dataset="digits", backbone="resnet18", evaluations=["kn"], storage=str(tmp_path))


@pytest.mark.parametrize(
    "config",
    [
        {"name": "resnet18-cifar", "options": {"stem_relu": False}},
        {"name": "vit_tiny_patch16_224", "options": {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2}},
    ],
    ids=["resnet18-cifar", "vit"],
)
def test_a_backbone_comes_back_from_its_file(config: dict[str, object], tmp_path: Path) -> None:
    encoder = build_encoder(BackboneConfig.model_validate(config), 32).eval()
    (tmp_path / "backbone.safetensors").write_bytes(save(*export(encoder)))
    loaded = ssl_sweep.load_backbone(tmp_path / "backbone.safetensors")
    images = torch.rand(2, 3, 32, 32)
    assert torch.equal(loaded(images), encoder(images))
    assert not loaded.training


def test_a_file_that_holds_no_backbone_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.safetensors").write_bytes(save({"a": torch.zeros(1)}))
    with pytest.raises(ssl_sweep.UserError, match="no entry 'timm'"):
        ssl_sweep.load_backbone(tmp_path / "other.safetensors")
    with pytest.raises(ssl_sweep.UserError, match=r"absent\.safetensors cannot be read"):
        ssl_sweep.load_backbone(tmp_path / "absent.safetensors")
