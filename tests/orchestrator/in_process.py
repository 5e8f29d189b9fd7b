"""Trials without Ray: the same function that a gang calls, in this process."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.identity import trial_id
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import TrialSpec, data_root
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.trial.run import run_trial
from ssl_sweep.orchestrator.trial.runtime import Runtime

CPU = torch.device("cpu")
TINY_VIT: dict[str, Any] = {
    "name": "vit_tiny_patch16_224",
    "options": {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2},
}


class Ear:
    """Keeps what it hears; asks to stop once `until` says so."""

    def __init__(self, until: Callable[[dict[str, Any]], bool] = lambda event: False):
        self.events: list[dict[str, Any]] = []
        self.until = until
        self.stop = False

    def tell(self, event: dict[str, Any]) -> None:
        self.events.append(event)
        self.stop |= self.until(event)

    def stop_requested(self) -> bool:
        return self.stop

    def heard(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["kind"] == kind]


def trials_of(path: Path) -> list[TrialSpec]:
    return expand(*load_spec(path))


def carry(trial: TrialSpec, storage: Path, ear: Ear | None = None, runtime: Runtime | None = None) -> TrialStore:
    """Run what is missing of a trial; returns its folder."""
    prepared = prepare(trial.dataset, data_root())
    folder = TrialStore(Store(str(storage)), trial_id(trial, prepared.fingerprint))
    run_trial(trial, folder, prepared, runtime or Runtime(CPU), ear or Ear())
    return folder
