"""Settings that change while a trial is pretrained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from in_process import CPU, Ear, carry
from pydantic import ValidationError
from ssl_sweep.orchestrator.spec.changes import Change
from ssl_sweep.orchestrator.spec.expand import expand, groups, resolve
from ssl_sweep.orchestrator.spec.identity import trial_id
from ssl_sweep.orchestrator.spec.label import label_of
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.store.events import EpochDone, Event, StepDone
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.trial.journal import TrialStopped
from ssl_sweep.orchestrator.trial.runtime import Runtime
from weights import assert_same_weights

SweepFile = Callable[..., Path]
TEMPERATURE, LR, MOMENTUM = "method.temperature", "pretrain.optimizer.lr", "pretrain.optimizer.momentum"
SMALL: dict[str, Any] = {
    "dataset": {"name": "digits", "train_images": 96, "test_images": 20},
    "pretrain": {
        "epochs": 3,
        "batch_size": 32,
        "optimizer": {"name": "sgd", "lr": 0.1},
        "schedule": {"warmup_epochs": 0},
    },
    "evaluate": [{"name": "knn", "k": 5}],
}


def trial_of(sweep_file: SweepFile, *changes: Change) -> TrialSpec:
    spec, document = load_spec(sweep_file(**SMALL))
    expand(spec, document)
    (group,) = groups(spec)
    return resolve(spec, group, 0, {TEMPERATURE: 0.2}, changes)


def change(after_epoch: int, **values: float) -> Change:
    keys = {"temperature": TEMPERATURE, "lr": LR, "momentum": MOMENTUM}
    return Change(after_epoch=after_epoch, values={keys[key]: value for key, value in values.items()})


TWICE = (change(1, temperature=0.4, lr=0.05), change(2, lr=0.01, momentum=0.5))


def losses(folder: TrialStore) -> list[float]:
    return [epoch.loss for epoch in folder.history()]


def test_a_change_counts_from_the_end_of_its_epoch(sweep_file: SweepFile, tmp_path: Path) -> None:
    plain = carry(trial_of(sweep_file), tmp_path / "runs")
    ear = Ear()
    changed = carry(trial_of(sweep_file, *TWICE), tmp_path / "runs", ear)
    assert changed.trial_id != plain.trial_id
    assert losses(changed)[0] == losses(plain)[0] and losses(changed)[1] < losses(plain)[1] - 0.1  # temperature
    rates = {event.step: event.lr for event in ear.heard(StepDone)}
    for step, peak in ((1, 0.1), (4, 0.05), (7, 0.01)):
        before = {event.step: event.lr for event in plain.events() if isinstance(event, StepDone)}[step]
        assert rates[step] == pytest.approx(before * peak / 0.1)


def at_step(step: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, StepDone) and event.step == step


def at_epoch(epoch: int) -> Callable[[Event], bool]:
    return lambda event: isinstance(event, EpochDone) and event.epoch == epoch


@pytest.mark.parametrize("stop", [at_step(1), at_epoch(1), at_step(4), at_epoch(2), at_step(7)])
def test_stopped_in_any_part_it_goes_on_bit_for_bit(
    stop: Callable[[Event], bool], sweep_file: SweepFile, tmp_path: Path
) -> None:
    trial = trial_of(sweep_file, *TWICE)
    whole = carry(trial, tmp_path / "whole")
    with pytest.raises(TrialStopped):
        carry(trial, tmp_path / "halves", Ear(stop), Runtime(CPU))
    halves = carry(trial, tmp_path / "halves")
    record = halves.pretrained()
    assert record is not None and record.attempts == 2
    assert losses(halves) == losses(whole)
    assert_same_weights(halves, whole)


@pytest.mark.parametrize("left", ["whole", "damaged", "none"])
def test_begun_from_another_s_checkpoint_it_ends_as_it_does_alone(
    left: str, sweep_file: SweepFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    donor, child = trial_of(sweep_file), trial_of(sweep_file, *TWICE)
    alone = carry(child, tmp_path / "alone")
    of_donor = carry(donor.model_copy(update={"keep_every": 1}), tmp_path / "runs")
    kept = of_donor.name("checkpoints/kept")
    assert [name.split("-")[0] for name in of_donor.store.names(kept)] == ["000000003", "000000006"]
    if left == "damaged":
        path = Path(of_donor.store.path(f"{kept}/{of_donor.store.names(kept)[0]}"))
        path.write_bytes(path.read_bytes()[:-100])
    elif left == "none":
        of_donor.drop_kept_checkpoints()
        assert of_donor.store.names(kept) == []
    begun = carry(child, tmp_path / "runs")
    first = 2 if left == "whole" else 1
    assert [epoch.epoch for epoch in begun.history()] == list(range(first, 4))
    assert losses(begun) == losses(alone)[first - 1 :]
    assert_same_weights(begun, alone)
    assert ("is damaged" in caplog.text) == (left == "damaged")
    record = begun.pretrained()
    assert record is not None and record.attempts == 1


def test_changes_are_part_of_what_a_trial_is(sweep_file: SweepFile) -> None:
    plain, changed = trial_of(sweep_file), trial_of(sweep_file, *TWICE)
    assert "changes" not in plain.model_dump(), "the trials of earlier versions are the same as they were"
    assert len({trial_id(trial, "f") for trial in (plain, changed, trial_of(sweep_file, TWICE[0]))}) == 3
    kept = changed.model_copy(update={"features": "none"})  # that is the sweep's own
    assert TrialSpec.model_validate_json(changed.model_dump_json()) == kept
    assert label_of(changed).startswith("simclr temperature=0.2,0.4@1 lr=")
    after = changed.after(2)
    assert (after.pretrain.optimizer.lr, after.pretrain.optimizer.momentum) == (0.01, 0.5)
    assert after.method.model_dump()["temperature"] == 0.4
    assert changed.after(0).method == plain.method


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([change(2, lr=0.1), change(1, lr=0.2)], "must rise"),
        ([change(3, lr=0.1)], "before the last"),
        ([change(1, temperature=-1.0)], "greater than 0"),
        ([Change(after_epoch=1, values={"pretrain.batch_size": 64})], "'pretrain.batch_size' cannot change"),
        ([Change(after_epoch=1, values={"method.output_dim": 64})], "'method.output_dim' cannot change"),
        ([Change(after_epoch=1, values={"method.views": 64})], "'method.views' cannot change"),
    ],
)
def test_a_change_that_cannot_be(changes: list[Change], message: str, sweep_file: SweepFile) -> None:
    with pytest.raises(ValidationError, match=message):
        trial_of(sweep_file, *changes)
