"""`ssl-sweep evaluate` refuses what cannot run in words of its options, and leaves nothing behind."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from image_folders import write_images
from in_process import TINY_VIT
from safetensors.torch import save_file
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder
from ssl_sweep.orchestrator.cli.main import main


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with weights and two folders of images."""
    encoder = build_encoder(BackboneConfig.model_validate(TINY_VIT), 8)
    save_file(encoder.model.state_dict(), tmp_path / "ours.safetensors")
    write_images(tmp_path / "pets")
    write_images(tmp_path / "unlabelled", labelled=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(place: Path, checkpoint: str = "ours.safetensors", **options: str) -> str:
    """What it says, once it is sure that there is nothing new."""
    before = sorted(place.rglob("*"))
    given = {"dataset": "{name: folder, path: pets, image_size: 8}", "backbone": json.dumps(TINY_VIT), **options}
    arguments = [text for name, value in given.items() for text in (f"--{name}", value)]
    done = CliRunner().invoke(main, ["evaluate", checkpoint, *arguments], catch_exceptions=False)
    assert done.exit_code == 2, done.output
    assert sorted(place.rglob("*")) == before
    assert done.stderr.startswith("error: ") and "sweep.yaml" not in done.stderr and "methods[" not in done.stderr
    return done.stderr.removeprefix("error: ").strip()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("dataset", "./absent", "--dataset: data set 'absent': there is nothing at {place}/absent; `path` must be"),
        ("dataset", "[pets", "--dataset: "),
        ("dataset", "dogs", "--dataset: got 'dogs'; must be 'digits', "),
        ("dataset", "digits\nname: mine", "--dataset: got "),
        ("backbone", "resnet", "--backbone: unknown backbone 'resnet'"),
        ("evaluate", "{name: knn, k: 0}", "--evaluate[0].k: got 0; must be greater than 0"),
        ("evaluate", "{name: knn, k: 200}", "--evaluate: knn has k = 200 (write `k: 24` or less)"),
        (
            "evaluate",
            "knn, {name: linear, dataset: ./unlabelled}",
            "--evaluate[1].dataset: data set 'unlabelled' has no labels, which evaluations on it need",
        ),
    ],
)
def test_an_option_that_cannot_be_used_is_named(option: str, value: str, message: str, place: Path) -> None:
    assert refused(place, **{option: value}).startswith(message.format(place=place))


def test_weights_that_are_not_there_are_named(place: Path) -> None:
    assert refused(place, "absent.pth") == f"CHECKPOINT: '{place}/absent.pth' does not exist"
