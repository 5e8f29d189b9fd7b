"""Features that stay next to a trial once it is evaluated (`features:` of a sweep file)."""

import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from click.testing import CliRunner
from in_process import CPU, Ear, carry, trials_of
from ssl_sweep.evaluation import features as of_evaluations
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.spec.identity import trial_id
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.store.events import EpochDone
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.sweep import features as exporting
from ssl_sweep.orchestrator.trial import keep_features
from ssl_sweep.orchestrator.trial.journal import TrialStopped
from ssl_sweep.orchestrator.trial.runtime import Runtime

EVALUATED = {"pretrain": {"epochs": 1, "batch_size": 32}, "evaluate": [{"name": "knn", "k": 1}]}


@pytest.fixture(autouse=True)
def _no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def trial(sweep_file: Callable[..., Path]) -> TrialSpec:
    return trials_of(sweep_file(**EVALUATED))[0]


def kept(folder: TrialStore) -> list[str]:
    """Splits that are kept."""
    names = folder.store.names(folder.name("features"))
    return sorted(name.removesuffix(".json").rpartition("-")[2] for name in names if name.endswith(".json"))


def extracted(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images of every pass of the backbone from now on."""
    counts: list[int] = []
    plain = of_evaluations.feature_batches

    def counted(task: Any, images: Any, *rest: Any) -> Any:
        counts.append(len(images))
        return plain(task, images, *rest)

    monkeypatch.setattr(of_evaluations, "feature_batches", counted)
    return counts


@pytest.mark.parametrize(("features", "splits"), [("none", []), ("test", ["test"]), ("all", ["test", "train"])])
def test_what_the_sweep_file_asks_for_is_kept(
    features: str, splits: list[str], sweep_file: Callable[..., Path], tmp_path: Path
) -> None:
    (trial,) = trials_of(sweep_file(**EVALUATED, features=features))
    assert trial.features == features and "features" not in trial.model_dump()
    assert kept(carry(trial, tmp_path / "runs")) == splits


def test_it_is_no_part_of_the_identity(trial: TrialSpec) -> None:
    others = [trial.model_copy(update={"features": features}) for features in ("none", "test")]
    assert {trial_id(one, "f") for one in (trial, *others)} == {trial_id(trial, "f")}


def test_images_are_encoded_once_for_kNN_and_for_what_is_kept(
    trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = trial.model_copy(update={"pretrain": trial.pretrain.model_copy(update={"diagnose_every": 0})})
    counts = extracted(monkeypatch)
    assert kept(carry(trial, tmp_path / "runs")) == ["test", "train"]
    assert sorted(counts) == [100, 320]


def test_a_finished_trial_computes_nothing_to_have_them(
    trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    carry(trial.model_copy(update={"features": "none"}), tmp_path / "runs")
    counts = extracted(monkeypatch)
    assert kept(carry(trial, tmp_path / "runs")) == [] and counts == []


def test_test_images_have_room_first(trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keep_features, "LIMIT", 2 * 32 * 400)
    assert kept(carry(trial, tmp_path / "runs")) == ["test"]


def test_trials_of_a_search_keep_none(sweep_file: Callable[..., Path]) -> None:
    from ssl_sweep.orchestrator.spec.expand import groups, resolve
    from ssl_sweep.orchestrator.spec.load import load_spec

    spec, _ = load_spec(sweep_file(**EVALUATED))
    assert resolve(spec, groups(spec)[0], 0, holdout=True).features == "none"


def test_an_interrupted_trial_keeps_them_when_it_resumes(trial: TrialSpec, tmp_path: Path) -> None:
    ear = Ear(lambda event: isinstance(event, EpochDone))
    with pytest.raises(TrialStopped):
        carry(trial, tmp_path / "runs", ear)
    assert kept(carry(trial, tmp_path / "runs")) == ["test", "train"]


def export(folder: TrialStore, out: Path, *options: str) -> str:
    command = ["features", "simclr", str(out), "--storage", folder.store.location, "--force", *options]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    return done.output


def numbers(out: Path) -> np.ndarray:
    table = pq.read_table(out)
    return table["feature"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)


def test_the_export_reads_them_and_says_so(trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In half precision, unless they are to be kept in full."""
    folder, out = carry(trial, tmp_path / "runs"), tmp_path / "out.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(exporting, "extracted_parts", None)
        patch.setenv("SSL_SWEEP_DATA", str(tmp_path / "nowhere"))
        text = export(folder, out)
    assert (
        "320 train and 100 test images, 32 numbers each, as kept in the store (train and test in half precision)"
        in text
    )
    halves, table = numbers(out), pq.read_table(out)
    assert table["sample"].to_pylist() == [*range(320), *range(100)] and halves.dtype == np.float32
    assert "as kept" not in export(folder, out, "--keep")
    exact = numbers(out)
    assert not np.array_equal(halves, exact) and np.array_equal(halves, exact.astype(np.float16).astype(np.float32))
    assert export(folder, out).endswith("as kept in the store\n") and np.array_equal(numbers(out), exact)


def test_only_what_is_not_kept_is_extracted(trial: TrialSpec, tmp_path: Path) -> None:
    folder, out = carry(trial.model_copy(update={"features": "test"}), tmp_path / "runs"), tmp_path / "out.parquet"
    assert export(folder, out).endswith("32 numbers each (test in half precision)\n")
    assert pq.read_table(out)["split"].to_pylist() == ["train"] * 320 + ["test"] * 100


def test_features_beyond_half_precision_are_not_kept(
    trial: TrialSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = keep_features.all_features
    monkeypatch.setattr(keep_features, "all_features", lambda *args: (1e6 * plain(*args)[0], None))
    ear = Ear()
    assert kept(carry(trial, tmp_path / "runs", ear)) == []
    assert sum("beyond the range of float16" in str(event) for event in ear.events) == 2


def on_a_rank(rank: int, content: dict[str, Any], storage: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{storage}-rendezvous", rank=rank, world_size=2)
    trial = TrialSpec.model_validate(content).model_copy(update={"features": "all"})
    carry(trial, Path(storage), Ear(), Runtime(CPU, rank, 2))
    dist.destroy_process_group()


def test_the_first_of_two_ranks_keeps_what_both_have(sweep_file: Callable[..., Path], tmp_path: Path) -> None:
    """Of 99 test images one rank has one more than the other."""
    dataset = {"name": "digits", "train_images": 320, "test_images": 99}
    (trial,) = trials_of(sweep_file(**EVALUATED, dataset=dataset))
    multiprocessing.set_forkserver_preload(["ssl_sweep.orchestrator.trial.run", "in_process"])
    arguments = (trial.model_dump(mode="json"), str(tmp_path / "runs"))
    mp.start_processes(on_a_rank, arguments, 2, start_method="forkserver")
    folder, out = carry(trial, tmp_path / "runs"), tmp_path / "out.parquet"
    assert "320 train and 99 test images, 32 numbers each, as kept in the store (" in export(folder, out)
    halves = numbers(out)
    export(folder, out, "--keep")
    np.testing.assert_allclose(halves, numbers(out), rtol=1e-3, atol=1e-4)
