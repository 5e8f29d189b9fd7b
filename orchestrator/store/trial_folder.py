"""One trial's folder in the store: what it has done, and the files that a resume starts from."""

import json
from typing import Any

from ...evaluation.base import EvaluationConfig
from ..spec.identity import evaluation_id
from ..spec.models import TrialSpec
from .files import Store
from .records import EpochRecord, EvaluationRecord, PretrainRecord, Record


class Failure(Record):
    """Why a trial failed, for good."""

    stage: str
    reason: str
    """One line."""


class TrialStore:
    """The folder of one trial."""

    def __init__(self, store: Store, trial_id: str):
        self.store = store
        self.trial_id = trial_id
        self.folder = f"trials/{trial_id}"

    def name(self, file: str) -> str:
        return f"{self.folder}/{file}"

    @property
    def log(self) -> str:
        return self.store.path(self.name("log.txt"))

    # -- what is done --

    def pretrained(self) -> PretrainRecord | None:
        """The record of the pretraining, once the backbone is kept."""
        return self.store.read_record(self.name("pretrain.json"), PretrainRecord)

    def evaluation(self, config: EvaluationConfig) -> EvaluationRecord | None:
        return self.store.read_record(self.name(f"evaluations/{evaluation_id(config)}.json"), EvaluationRecord)

    def failure(self) -> Failure | None:
        return self.store.read_record(self.name("failure.json"), Failure)

    def missing(self, trial: TrialSpec) -> list[str]:
        """Stages that are still to run, in order: ``pretrain`` and the evaluations' names."""
        stages = [] if self.pretrained() else ["pretrain"]
        return stages + [config.name for config in trial.evaluate if not self.evaluation(config)]

    def started(self) -> bool:
        return self.store.exists(self.name("trial.json"))

    def trial(self) -> TrialSpec | None:
        """The trial as it was started, or None where it never was."""
        content = self.store.read_json(self.name("trial.json"))
        return None if content is None else TrialSpec.model_validate(content["trial"])

    # -- what is written --

    def start(self, trial: TrialSpec, fingerprint: str, environment: dict[str, str]) -> None:
        """Write the resolved trial and forget an earlier failure."""
        self.store.write_json(
            self.name("trial.json"),
            {
                "id": self.trial_id,
                "trial": trial.model_dump(mode="json"),
                "dataset_fingerprint": fingerprint,
                "environment": environment,
            },
        )
        self.store.delete(self.name("failure.json"))

    def finish_pretraining(self, record: PretrainRecord, backbone: bytes) -> None:
        """Keep the backbone, then the record that says so; the checkpoints have served."""
        self.store.write(self.name("backbone.safetensors"), backbone)
        self.store.write_record(self.name("pretrain.json"), record)
        self.store.delete(self.name("checkpoints/last.pt"))

    def keep_picture(self, png: bytes) -> None:
        """Of the first images and their views."""
        self.store.write(self.name("views.png"), png)

    def picture(self) -> bytes | None:
        return self.store.read(self.name("views.png"))

    def finish_evaluation(self, config: EvaluationConfig, record: EvaluationRecord) -> None:
        self.store.write_record(self.name(f"evaluations/{evaluation_id(config)}.json"), record)

    def fail(self, failure: Failure) -> None:
        self.store.write_record(self.name("failure.json"), failure)

    def add_events(self, events: list[dict[str, Any]]) -> None:
        self.store.append(self.name("events.jsonl"), [json.dumps(event) for event in events])

    def events(self) -> list[dict[str, Any]]:
        """All events. A resumed trial repeats the steps since its checkpoint; the later event of a step counts."""
        latest: dict[tuple[Any, ...], dict[str, Any]] = {}
        for i, event in enumerate(self.store.events(self.name("events.jsonl"))):
            key = (event["kind"], event.get("stage"), event["step"]) if "step" in event else (event["kind"], i)
            latest[key] = event
        return list(latest.values())

    def history(self) -> list[EpochRecord]:
        """The epochs of the pretraining, in order."""
        epochs = [EpochRecord.model_validate(event) for event in self.events() if event["kind"] == "epoch"]
        return sorted(epochs, key=lambda record: record.epoch)

    # -- checkpoints: the bytes of the newest --

    def checkpoint(self) -> bytes | None:
        return self.store.read(self.name("checkpoints/last.pt"))

    def save_checkpoint(self, content: bytes) -> None:
        self.store.write(self.name("checkpoints/last.pt"), content)

    def backbone(self) -> bytes | None:
        return self.store.read(self.name("backbone.safetensors"))
