"""What Ray Tune runs for each trial: a light function that puts the trial on the board and passes on what comes back."""

import time
from typing import Any

import ray
from ray import tune

from ...datasets.prepared import Prepared
from ..spec.expand import Group, resolve
from ..spec.identity import trial_id
from ..spec.models import SweepSpec
from .board import ENDED, Job

POLL_SECONDS = 0.2


def follow(
    config: dict[str, Any], board: str, namespace: str, metric: str | None, base: dict[str, Any] | None = None
) -> None:
    """Put a trial on the board and report its epochs to Tune until it ends.

    The trial is `config["job"]`, or the point `config` of the search that `base` describes. Reports hold ``epoch``
    and, once it is known, the metric of the search. They are few and small: Tune keeps them all.
    """
    actor = ray.get_actor(board, namespace=namespace)
    job = Job(*config["job"]) if base is None else sampled_job(base, config)
    ray.get(actor.put.remote(job, tune.get_context().get_trial_id()))
    seen = epoch = 0
    best: dict[str, float] = {}
    while True:
        status, events = ray.get(actor.outcome.remote(job.trial_id, seen))
        seen += len(events)
        for event in events:
            epoch = event.get("epoch", epoch)
            value = metric_of(event, metric)
            if value is not None:
                best = {"value": value}
                tune.report({"epoch": epoch, **best})
        if status in ENDED:
            tune.report({"epoch": epoch, "status": status, **best})
            return
        time.sleep(POLL_SECONDS)


def metric_of(event: dict[str, Any], metric: str | None) -> float | None:
    """The search's metric, if this event has it: from the evaluation, or from one between epochs."""
    if metric is None:
        return None
    name, _, measure = metric.partition("/")
    if event["kind"] == "evaluation" and event["stage"] == name:
        return event["metrics"][measure]
    return event["logs"].get(metric) if event["kind"] == "epoch" else None


def sampled_job(base: dict[str, Any], point: dict[str, Any]) -> Job:
    """The trial at a point that a searcher sampled."""
    spec = SweepSpec.model_validate(base["spec"])
    group = Group(base["group"], spec.methods[base["group"]], base["axes"])
    trial = resolve(spec, group, spec.seeds[0], point, holdout=True)
    prepared = Prepared.model_validate(base["prepared"])
    return Job(trial_id(trial, prepared.fingerprint), trial.model_dump(mode="json"), prepared.fingerprint)
