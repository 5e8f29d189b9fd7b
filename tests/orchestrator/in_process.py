"""Trials without Ray: the same function that a worker calls, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.identity import trial_id
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import TrialSpec, data_root
from ssl_sweep.orchestrator.store.events import Event, StageStarted
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.trial.run import run_trial
from ssl_sweep.orchestrator.trial.runtime import Runtime

E = TypeVar("E", bound=Event)
CPU = torch.device("cpu")
TINY_VIT: dict[str, Any] = {
    "name": "vit_tiny_patch16_224",
    "options": {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2},
}
SMALL: dict[str, Any] = {
    "name": "small",
    "dataset": {"name": "digits", "train_images": 320, "test_images": 100},
    "backbone": TINY_VIT,
    "methods": ["simclr"],
    "pretrain": {"epochs": 2, "batch_size": 32},
    "evaluate": [
        {"name": "knn", "k": 20},
        {"name": "linear", "epochs": 2, "augment": False},
        {"name": "finetune", "protocol": "finetune/simclr@1", "epochs": 1},
    ],
    "resources": {"concurrent_trials": 1},  # each worker group is a dozen processes of Ray's
}
"""A sweep file of one trial."""


class Ear:
    """Keeps what it hears; asks to stop once `until` says so."""

    def __init__(self, until: Callable[[Event], bool] = lambda event: False):
        self.events: list[Event] = []
        self.until = until
        self.stop = False

    def on_event(self, event: Event) -> None:
        self.events.append(event)
        self.stop |= self.until(event)

    def stop_requested(self) -> TrialState | None:
        return TrialState.INTERRUPTED if self.stop else None

    def heard(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def stages(self) -> list[str]:
        return [event.stage for event in self.heard(StageStarted)]


def trials_of(path: Path) -> list[TrialSpec]:
    return expand(*load_spec(path))


def carry(trial: TrialSpec, storage: Path, ear: Ear | None = None, runtime: Runtime | None = None) -> TrialStore:
    """Run what is missing of a trial; returns its folder."""
    prepared = prepare(trial.dataset, data_root())
    folder = TrialStore(Store(str(storage)), trial_id(trial, prepared.fingerprint))
    run_trial(trial, folder, prepared, runtime or Runtime(CPU), ear or Ear())
    return folder
