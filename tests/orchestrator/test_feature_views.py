"""The map and the sheet of a trial, from its kept features and the images."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from in_process import SMALL, carry, trials_of
from PIL import Image
from ssl_sweep.evaluation import feature_map
from ssl_sweep.orchestrator.report.feature_views import FeatureViews, feature_views
from ssl_sweep.orchestrator.spec.models import data_root as prepared
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.records import TrialResult
from ssl_sweep.orchestrator.store.trial_folder import TrialStore

SWEEP: dict[str, Any] = SMALL | {
    "pretrain": {"epochs": 1, "batch_size": 32}, "evaluate": [{"name": "knn", "k": 1}],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, data_root: Path) -> Iterator[TrialStore]:
    """A finished trial."""
    place = tmp_path_factory.mktemp("finished")
    (place / "sweep.yaml").write_text(yaml.safe_dump(SWEEP))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_SWEEP_DATA", str(data_root))
        torch.set_num_threads(1)
        yield carry(trials_of(place / "sweep.yaml")[0], place / "runs")


@pytest.fixture
def look(folder: TrialStore) -> Callable[..., FeatureViews | str]:
    trial = folder.trial()
    assert trial is not None
    result = TrialResult(
        trial_id=folder.trial_id, method="simclr", title="SimCLR", backbone="vit", dataset="digits",
        dataset_fingerprint=folder.status().dataset_fingerprint, image_size=trial.image_size, batch_size=32, epochs=1,
        seed=0, recipe="paper", status=folder.status().state,
    )  # fmt: skip

    def views(root: Path | None = None) -> FeatureViews | str:
        return feature_views(result, folder.store, prepared() if root is None else root)

    return views


def views_files(folder: TrialStore) -> list[str]:
    return [name for name in folder.store.names(folder.name("features")) if name.endswith("-views.json")]


def forget(folder: TrialStore) -> None:
    for name in views_files(folder):
        folder.store.delete(folder.name(f"features/{name}"))


def test_a_map_and_a_sheet(folder: TrialStore, look: Callable[..., FeatureViews | str]) -> None:
    forget(folder)
    found = look()
    assert isinstance(found, FeatureViews)
    assert len(found.places) == len(found.labels) == 100 and found.classes == tuple(map(str, range(10)))
    assert found.neighbours == "training" and len(found.jpeg) <= 55_000
    sheet = np.asarray(Image.open(io.BytesIO(found.jpeg)))
    assert sheet.shape == (10 * 56 + 6, 110 + 6 + 7 * 56, 3)


def test_they_are_made_once(
    folder: TrialStore, look: Callable[..., FeatureViews | str], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = look()
    assert len(views_files(folder)) == 1
    monkeypatch.setattr(feature_map, "plane", None)
    monkeypatch.setattr(feature_map, "nearest", None)
    assert look() == first


def test_without_the_images_there_is_a_map_and_the_sheet_follows(
    folder: TrialStore, look: Callable[..., FeatureViews | str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forget(folder)
    found = look(tmp_path / "nowhere")
    assert isinstance(found, FeatureViews) and found.places and not found.sheet
    assert found.no_sheet == "the images of 'digits' are not on this machine"
    monkeypatch.setattr(feature_map, "plane", None)
    later = look()
    assert isinstance(later, FeatureViews) and later.places == found.places and later.sheet and not later.no_sheet


def test_without_training_features_neighbours_are_test_images(
    folder: TrialStore, look: Callable[..., FeatureViews | str], tmp_path: Path
) -> None:
    (record,) = (name for name in folder.store.names(folder.name("features")) if name.endswith("-train.json"))
    content = folder.store.read(folder.name(f"features/{record}"))
    assert content is not None
    folder.store.delete(folder.name(f"features/{record}"))
    found = look()
    folder.store.write(folder.name(f"features/{record}"), content)
    assert isinstance(found, FeatureViews) and found.neighbours == "test" and found.sheet


def test_without_features_it_is_said(look: Callable[..., FeatureViews | str], tmp_path: Path) -> None:
    store = Store(str(tmp_path / "empty"))
    trial = TrialResult.model_validate(
        {
            "trial_id": "one", "method": "simclr", "title": "SimCLR", "backbone": "vit", "dataset": "digits",
            "dataset_fingerprint": "f", "image_size": 8, "batch_size": 32, "epochs": 1, "seed": 0, "recipe": "paper",
            "status": "finished",
        }
    )  # fmt: skip
    assert "its features are not kept" in str(feature_views(trial, store, tmp_path))


def test_damaged_features_cost_the_map_alone(folder: TrialStore, look: Callable[..., FeatureViews | str]) -> None:
    forget(folder)
    (part,) = (name for name in folder.store.names(folder.name("features")) if name.endswith("-test-00000.arrow"))
    path = Path(folder.store.path(folder.name(f"features/{part}")))
    content = path.read_bytes()
    path.write_bytes(content[:-200] + bytes(200))
    found = look()
    path.write_bytes(content)
    assert isinstance(found, str) and found.startswith("its features or images cannot be read: ")
