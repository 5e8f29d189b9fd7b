"""Backbones that begin with given weights: evaluated as they are, or pretrained further."""

import io
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from click.testing import CliRunner
from in_process import CPU, SMALL, TINY_VIT, Ear, carry, trials_of
from safetensors.torch import load_file, save_file
from ssl_sweep.methods.base import TrainingSet
from ssl_sweep.methods.encoder import Encoder
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.report.main_table import render_table
from ssl_sweep.orchestrator.spec.errors import SpecError
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.store.events import Event, StepDone
from ssl_sweep.orchestrator.store.fault import Fault
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.sweep.cleaning import OLD_SECONDS, collect_garbage, find_garbage
from ssl_sweep.orchestrator.sweep.status import plan_rows, stored_sweep
from ssl_sweep.orchestrator.sweep.weights import expanded
from ssl_sweep.orchestrator.trial.given_weights import begin_with_weights
from ssl_sweep.orchestrator.trial.journal import TrialFailed, TrialStopped
from ssl_sweep.orchestrator.trial.learner import Learner
from ssl_sweep.orchestrator.trial.runtime import Runtime
from steered import Steered
from steered import no_tracking as no_tracking
from weights import assert_same_weights

SweepFile = Callable[..., Path]
KNN: list[Any] = [{"name": "knn", "k": 20}]


def given(path: Path) -> list[TrialSpec]:
    """The trials of a sweep, its weights in its store."""
    spec, document = load_spec(path)
    return expanded(spec, document, read=True, keep=True)[1]


def knn(folder: TrialStore) -> dict[str, float]:
    (record,) = folder.status().evaluations.values()
    return record.metrics


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Iterator[Path]:
    """A store with one trial of SimCLR."""
    folder = tmp_path_factory.mktemp("pretrained")
    path = folder / "sweep.yaml"
    storage = folder / "runs"
    path.write_text(yaml.safe_dump({**SMALL, "storage": str(storage), "evaluate": KNN}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_SWEEP_DATA", str(data_root))
        torch.set_num_threads(1)
        (trial,) = trials_of(path)
        carry(trial, storage)
    yield storage


@pytest.fixture
def source(pretrained: Path, tmp_path: Path) -> TrialStore:
    """The trial, in the store of the test's sweeps."""
    shutil.copytree(pretrained, tmp_path / "runs")
    (name,) = Store(str(tmp_path / "runs")).names("trials")
    return TrialStore(Store(str(tmp_path / "runs")), name)


def file_of(folder: TrialStore) -> Path:
    return Path(folder.store.path(folder.name("backbone.safetensors")))


def test_a_trial_s_weights_score_as_the_trial(source: TrialStore, sweep_file: SweepFile, tmp_path: Path) -> None:
    entry = {"name": "pretrained", "weights": f"trial:{source.trial_id[-10:]}"}
    (trial,) = given(sweep_file(methods=[entry], evaluate=KNN))
    again = carry(trial, tmp_path / "runs")
    assert knn(again) == knn(source)
    assert_same_weights(again, source)
    assert again.trial_id.startswith("pretrained-vit_tiny_patch16_224-digits-")
    record = again.pretrained()
    assert record is not None and record.epochs == 0 and record.weights == "30 of 30 tensors"


def test_the_content_of_weights_is_what_counts(source: TrialStore, sweep_file: SweepFile, tmp_path: Path) -> None:
    """Not where they lie: as a trial, a file or a folder they are one trial."""
    ids: list[str] = []
    folder = tmp_path / "given"
    folder.mkdir()
    shutil.copy(file_of(source), folder / "any.safetensors")
    for weights in ("trial:simclr seed 0", "given/any.safetensors", "given", {"path": str(folder), "title": "Any"}):
        path = sweep_file(methods=["byol"], backbone=TINY_VIT | {"weights": weights}, evaluate=KNN)
        ids += [row.trial for row in plan_rows(path)] if ids else [carry(given(path)[0], tmp_path / "runs").trial_id]
    assert len(set(ids)) == 1 and len(ids) == 4
    tensors = {name: tensor + 1 for name, tensor in load_file(folder / "any.safetensors").items()}
    save_file(tensors, folder / "any.safetensors")
    assert plan_rows(path)[0].trial not in ids
    (without,) = plan_rows(sweep_file(methods=["byol"], evaluate=KNN))
    assert without.trial not in ids and without.trial.rpartition("-")[0] == ids[0].rpartition("-")[0]


@pytest.mark.parametrize(
    "method", ["simclr", "byol", "moco", "dino", "mocov3", "mae", "simmim", "ijepa", "msn", "ibot"]
)
def test_student_and_teacher_begin_with_them(method: str, source: TrialStore, sweep_file: SweepFile) -> None:
    """Whatever a method initialises or fixes in an encoder by itself."""
    (trial,) = given(sweep_file(methods=[{"name": method, "weights": f"trial:{source.trial_id}"}], evaluate=KNN))
    learner = Learner(trial, TrainingSet(320, 10), Runtime(CPU))
    begin_with_weights(trial, learner.method, source.store, resumed=False)
    expected = load_file(file_of(source))
    encoders = [module for module in learner.method.modules() if isinstance(module, Encoder)]
    assert encoders
    for encoder in encoders:
        assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder.model.state_dict().items())


def test_continued_pretraining_starts_at_the_accuracy_of_its_weights(
    source: TrialStore, sweep_file: SweepFile, tmp_path: Path
) -> None:
    """With a rate that moves nothing it ends there too."""
    pretrain = {"epochs": 1, "batch_size": 32, "optimizer": {"name": "sgd", "lr": 1e-30, "weight_decay": 0.0}}
    backbone = TINY_VIT | {"weights": f"trial:{source.trial_id}"}
    (trial,) = given(sweep_file(methods=["byol"], backbone=backbone, pretrain=pretrain, evaluate=KNN))
    assert knn(carry(trial, tmp_path / "runs")) == knn(source)


def test_a_stopped_trial_goes_on_bit_for_bit(source: TrialStore, sweep_file: SweepFile, tmp_path: Path) -> None:
    path = sweep_file(methods=[{"name": "byol", "weights": f"trial:{source.trial_id}"}], evaluate=KNN)
    (trial,) = given(path)
    shutil.copytree(tmp_path / "runs", tmp_path / "halves")
    whole = carry(trial, tmp_path / "runs")
    with pytest.raises(TrialStopped):
        carry(trial, tmp_path / "halves", Ear(after_step_13))
    halves = carry(trial, tmp_path / "halves")
    assert_same_weights(whole, halves)
    assert [epoch.loss for epoch in whole.history()] == [epoch.loss for epoch in halves.history()]


def after_step_13(event: Event) -> bool:
    return isinstance(event, StepDone) and event.step == 13


def test_a_part_of_the_weights_is_told_beside_every_number(
    source: TrialStore, sweep_file: SweepFile, tmp_path: Path
) -> None:
    tensors = {name: tensor for name, tensor in load_file(file_of(source)).items() if not name.startswith("norm.")}
    save_file(tensors, tmp_path / "part.safetensors")
    weights: dict[str, Any] = {"path": "part.safetensors"}
    changes: dict[str, Any] = {"methods": [{"name": "pretrained", "weights": weights}], "evaluate": KNN}
    with pytest.raises(
        SpecError, match=r"methods\[0\]\.weights: .*part\.safetensors' has 28 of the 30 tensors"
    ) as error:
        given(sweep_file(**changes))
    assert "not in the file: norm.weight, norm.bias" in str(error.value)
    weights["partial"] = True
    folder = carry(given(sweep_file(**changes))[0], tmp_path / "runs")
    (record,) = folder.status().evaluations.values()
    assert record.remarks == ("2 tensors of the backbone were not among its given weights and began at random",)


def test_weights_in_a_pickle_are_safetensors_in_the_store(
    source: TrialStore, sweep_file: SweepFile, tmp_path: Path
) -> None:
    tensors = load_file(file_of(source))
    content = {"teacher": {f"backbone.{name}": tensor for name, tensor in tensors.items()}, "epoch": 7}
    torch.save(content, tmp_path / "dino.pth")
    changes = {"methods": [{"name": "pretrained", "weights": "dino.pth"}], "evaluate": KNN}
    (trial,) = given(sweep_file(**changes))
    copies = [path for path in (tmp_path / "runs/weights").iterdir() if path.suffix == ".safetensors"]
    assert [path.stem for path in copies] == [trial.backbone.weights.sha256] if trial.backbone.weights else False
    assert set(load_file(copies[0])) == {f"teacher.backbone.{name}" for name in tensors}
    (tmp_path / "dino.pth").unlink()  # no worker needs it
    assert knn(carry(trial, tmp_path / "runs")) == knn(source)
    unused = [item for item in find_garbage(source.store, now=time.time() + 2 * OLD_SECONDS) if item.kind == "weights"]
    assert [sorted(item.names) for item in unused] == [
        sorted(f"weights/{path.name}" for path in copies[0].parent.iterdir())
    ]
    assert collect_garbage(source.store, unused) == unused and not copies[0].exists()
    (other,) = [trial.model_copy(update={"seed": 5})]
    with pytest.raises(TrialFailed, match="the store has no copy of its weights") as error:
        carry(other, tmp_path / "runs")
    assert error.value.fault is Fault.STORE_ERROR


@pytest.mark.usefixtures("no_tracking")
def test_a_table_of_given_weights(source: TrialStore, sweep_file: SweepFile, tmp_path: Path) -> None:
    """Each by its name; what was submitted is shown when the files are gone."""
    tensors = load_file(file_of(source))
    for name in ("one", "two"):
        save_file(
            {key: tensor * (2 if name == "two" else 1) for key, tensor in tensors.items()},
            tmp_path / f"{name}.safetensors",
        )
    methods: list[Any] = [
        {"name": "pretrained", "weights": "one.safetensors"},
        {"name": "pretrained", "weights": {"path": "two.safetensors", "title": "Second"}},
        {"name": "simclr", "weights": "one.safetensors", "pretrain": {"epochs": 1}},
        "random",
    ]
    path = sweep_file(methods=methods, evaluate=KNN)
    outcome = Steered(path, InProcessEngine).outcome
    assert outcome.exit_status == 0
    (table,) = render_table(outcome.result)
    assert [row.cells[0].text for row in table.rows] == ["one", "Second", "SimCLR from one", "Random init"]
    assert "weights" not in {item.kind for item in find_garbage(source.store, now=time.time() + 2 * OLD_SECONDS)}
    for name in ("one", "two"):
        (tmp_path / f"{name}.safetensors").unlink()
    assert [trial.title for trial in stored_sweep(path).result("").trials] == [
        "one",
        "Second",
        "SimCLR from one",
        "Random init",
    ]
    with pytest.raises(SpecError, match=r"methods\[1\]\.weights: '.*/two\.safetensors' does not exist"):
        plan_rows(path)


def test_a_grid_over_weights(source: TrialStore, sweep_file: SweepFile, tmp_path: Path) -> None:
    tensors = load_file(file_of(source))
    save_file({name: 2 * tensor for name, tensor in tensors.items()}, tmp_path / "twice.safetensors")
    path = sweep_file(
        methods=["pretrained"],
        grid={"backbone.weights": [f"trial:{source.trial_id}", "twice.safetensors"]},
        evaluate=KNN,
    )
    labels = [row.label for row in plan_rows(path)]
    assert labels == [f"pretrained weights=trial {source.trial_id} seed 0", "pretrained weights=twice seed 0"]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"weights": "absent.pth"}, "{key}: '{folder}/absent.pth' does not exist"),
    "no weights": (
        {"weights": "text.pth"},
        "{key}: '{folder}/text.pth' is a text file; what is needed is a safetensors file, or what torch.save wrote",
    ),
    "another network": (
        {"weights": "resnet.pth"},
        "{key}: '{folder}/resnet.pth' has nothing of the backbone, whose tensors are cls_token,",
    ),
    "no such trial": ({"weights": "trial:absent"}, "{key}: no trial 'absent' in {folder}/runs"),
    "an address": (
        {"weights": "s3://bucket/a.pth"},
        "{key}: 's3://bucket/a.pth' is an address; weights are a file, a folder,",
    ),
    "another digest": (
        {"weights": {"path": "resnet.pth", "sha256": "0" * 64}},
        "{key}: '{folder}/resnet.pth' has the SHA-256",
    ),
}


@pytest.mark.parametrize("command", ["validate", "plan", "submit"])
@pytest.mark.parametrize("case", BAD)
def test_bad_weights_are_refused_before_anything_runs(
    case: str, command: str, sweep_file: SweepFile, tmp_path: Path
) -> None:
    if command != "validate" and case not in ("missing", "another network"):
        pytest.skip("one way for all commands")
    (tmp_path / "text.pth").write_text("no weights")
    file = io.BytesIO()
    torch.save({"layer1.0.conv1.weight": torch.zeros(3)}, file)
    (tmp_path / "resnet.pth").write_bytes(file.getvalue())
    entry, message = BAD[case]
    path = sweep_file(methods=[{"name": "byol", **entry}])
    result = CliRunner().invoke(main, [command, str(path)])
    assert result.exit_code == 2
    assert message.format(key="methods[0].weights", folder=tmp_path) in result.stderr
    assert not (tmp_path / "runs").exists()


def test_weights_are_evaluated_without_a_sweep_file(
    source: TrialStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep that the command makes is the one that a file would say."""
    driven: list[Path] = []
    monkeypatch.setattr("ssl_sweep.orchestrator.cli.evaluate.drive", lambda path, *_, **__: driven.append(path))
    monkeypatch.chdir(tmp_path)
    shutil.copy(file_of(source), tmp_path / "ours.safetensors")
    options = ["--dataset", "{name: digits, train_images: 320, test_images: 100}", "--backbone", json.dumps(TINY_VIT)]
    options += ["--evaluate", "{name: knn, k: 20}"]
    for checkpoint in ("ours.safetensors", "ours.safetensors", f"trial:{source.trial_id}"):
        result = CliRunner().invoke(main, ["evaluate", checkpoint, *options], catch_exceptions=False)
        assert result.exit_code == 0, result.output
    first, second, third = driven
    assert first == second != third and first.parent.parent == tmp_path / "runs/sweeps"
    assert knn(carry(given(first)[0], tmp_path / "runs")) == knn(source)
    result = CliRunner().invoke(main, ["evaluate", "a.pth", "--dataset", "[digits", "--backbone", "resnet18"])
    assert result.exit_code == 2 and result.stderr.startswith("error: ")
