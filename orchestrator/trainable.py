"""What Ray Tune runs for each trial: a light function that puts the trial on the board and passes on what comes back."""

import time
from typing import Any

import ray
from ray import tune

from ..datasets.prepared import Prepared
from .board import ENDED, Job
from .expand import Group, resolve
from .identity import trial_id
from .spec import SweepSpec

POLL_SECONDS = 0.2


def follow(config: dict[str, Any], board: str, namespace: str, metric: str | None) -> None:
    """Put `config["job"]` on the board and report its epochs to Tune until it ends.

    Reports hold ``epoch`` and, once it is known, the metric of the search. They are few and small: Tune keeps them all.
    """
    actor = ray.get_actor(board, namespace=namespace)
    job = Job(*config["job"]) if "job" in config else sampled_job(config)
    ray.get(actor.put.remote(job, tune.get_context().get_trial_id()))
    seen = 0
    epoch = 0
    while True:
        status, events = ray.get(actor.outcome.remote(job.trial_id, seen))
        seen += len(events)
        for event in events:
            epoch = event.get("epoch", epoch)
            value = metric_of(event, metric)
            if value is not None:
                tune.report({"epoch": epoch, "value": value})
        if status in ENDED:
            tune.report({"epoch": epoch, "status": status, "trial_id": job.trial_id})
            return
        time.sleep(POLL_SECONDS)


def metric_of(event: dict[str, Any], metric: str | None) -> float | None:
    """The search's metric, if this event has it: from the evaluation, or from kNN while pretraining."""
    if metric is None:
        return None
    if event["kind"] == "evaluation" and metric == f"{event['stage']}/top1":
        return event["top1"]
    return event["logs"].get(metric) if event["kind"] == "epoch" else None


def sampled_job(config: dict[str, Any]) -> Job:
    """The trial at a point that a searcher sampled."""
    spec = SweepSpec.model_validate(config["spec"])
    group = Group(config["group"], spec.methods[config["group"]], config["axes"])
    trial = resolve(spec, group, config["seed"], config["point"], holdout=True)
    prepared = Prepared.model_validate(config["prepared"])
    return Job(trial_id(trial, prepared.fingerprint), trial.model_dump(mode="json"), prepared.fingerprint)
