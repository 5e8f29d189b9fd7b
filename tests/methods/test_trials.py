"""Every method as a trial on real images: its views, its loss, a stop in the middle and the way on, an evaluation."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.methods import METHODS
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.identity import trial_id
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.store.events import Event, StepDone
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.trial.journal import TrialStopped
from ssl_sweep.orchestrator.trial.run import run_trial
from ssl_sweep.orchestrator.trial.runtime import Runtime
from tiny import SMALL, VIT

STEPS = 9


class Ear:
    """Stops the trial after step `until`."""

    def __init__(self, until: int = -1):
        self.until = until
        self.losses: list[float] = []
        self.stop = False

    def on_event(self, event: Event) -> None:
        if isinstance(event, StepDone):
            self.losses.append(event.loss)
            self.stop |= event.step == self.until

    def stop_requested(self) -> TrialState | None:
        return TrialState.INTERRUPTED if self.stop else None


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("data")


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name].weights != "needed"])
def test_a_trial_of_every_method(name: str, data: Path, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    sweep = {
        "name": "one",
        "dataset": {"name": "digits", "train_images": 96, "test_images": 40, "image_size": 32},
        "backbone": VIT.model_dump(mode="json"),
        "methods": [{"name": name, **SMALL.get(name, {})}],
        "pretrain": {"epochs": 3, "batch_size": 32},
        "evaluate": [{"name": "knn", "k": 5}],
    }
    path.write_text(yaml.safe_dump(sweep))
    (trial,) = expand(*load_spec(path))
    prepared = prepare(trial.dataset, data)

    def run(storage: str, ear: Ear) -> TrialStore:
        folder = TrialStore(Store(str(tmp_path / storage)), trial_id(trial, prepared.fingerprint))
        run_trial(trial, folder, prepared, Runtime(torch.device("cpu")), ear)
        return folder

    whole, halves = Ear(), Ear(until=5)
    folder = run("whole", whole)
    assert folder.evaluation(trial.evaluate[0]) is not None
    if not METHODS[name].trains:
        assert whole.losses == []
        return
    assert len(whole.losses) == STEPS
    with pytest.raises(TrialStopped):
        run("halves", halves)
    rest = Ear()
    run("halves", rest)
    assert halves.losses + rest.losses == whole.losses
