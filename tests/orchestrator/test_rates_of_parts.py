"""Trials whose backbones learn at several rates, or in parts: pretrained, resumed, fine-tuned, refused and reported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from in_process import TINY_VIT, Ear, carry, trials_of
from safetensors.torch import load_file
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from ssl_sweep.orchestrator.report.main_table import render_table
from ssl_sweep.orchestrator.spec.identity import evaluation_id, kind_id, trial_id
from ssl_sweep.orchestrator.spec.models import TrialSpec
from ssl_sweep.orchestrator.store.events import Event, StepDone
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.trial.journal import TrialStopped
from ssl_sweep.orchestrator.trial.learner import new_encoder
from steered import Steered
from steered import no_tracking as no_tracking
from weights import assert_same_weights

SweepFile = Callable[..., Path]
KNN: list[Any] = [{"name": "knn", "k": 20}]
PRETRAIN: dict[str, Any] = {"epochs": 1, "batch_size": 32}
FROZEN = {"conv1*": 0, "bn1.*": 0, "layer1.*": 0, "layer2.*": 0.1}
RESNET = {"methods": ["byol"], "backbone": "resnet10t", "evaluate": KNN}


def trained(folder: TrialStore) -> dict[str, torch.Tensor]:
    return load_file(folder.store.path(folder.name("backbone.safetensors")))


def fresh(trial: TrialSpec) -> dict[str, torch.Tensor]:
    return new_encoder(trial).model.state_dict()


def test_a_stopped_trial_goes_on_bit_for_bit(sweep_file: SweepFile, tmp_path: Path) -> None:
    (trial,) = trials_of(sweep_file(**RESNET, pretrain=PRETRAIN | {"rates": FROZEN}))
    whole = carry(trial, tmp_path / "whole")

    def in_the_middle(event: Event) -> bool:
        return isinstance(event, StepDone) and event.step == 5

    with pytest.raises(TrialStopped):
        carry(trial, tmp_path / "halves", Ear(in_the_middle))
    assert_same_weights(whole, carry(trial, tmp_path / "halves"))
    before, after = fresh(trial), trained(whole)
    same = {name for name, tensor in after.items() if torch.equal(tensor, before[name])}
    frozen = {name for name in after if name.startswith(("conv1", "bn1.", "layer1."))}
    assert frozen <= same and not [name for name in after if name.endswith("conv1.weight") and name in same - frozen]


def test_only_rates_that_are_given_are_identity_and_their_order_is(sweep_file: SweepFile) -> None:
    def trial(**rates: Any) -> TrialSpec:
        return trials_of(sweep_file(**RESNET, pretrain=PRETRAIN | rates))[0]

    plain, none = trial(), trial(rates={})
    one, other = trial(rates={"*": 0.1, "fc*": 1, "layer1.*": 0}), trial(rates={"layer1.*": 0, "*": 0.1, "fc*": 1})
    assert "rates" not in plain.model_dump_json() and trial_id(plain, "data") == trial_id(none, "data")
    ids = {trial_id(each, "data") for each in (plain, one, other)}
    assert len(ids) == 3
    assert trial_id(TrialSpec.model_validate_json(one.model_dump_json()), "data") == trial_id(one, "data")
    kinds = {kind_id(each, "data", each.resources, compiled=False) for each in (plain, one)}
    assert len(kinds) == 2


def test_a_method_has_rates_of_its_own(sweep_file: SweepFile) -> None:
    methods = [{"name": "byol", "pretrain": {"rates": {"layer1.*": 0.5}}}, {"name": "moco", "pretrain": {"rates": {}}}]
    path = sweep_file(**RESNET | {"methods": ["simclr", *methods]}, pretrain=PRETRAIN | {"rates": FROZEN})
    assert [trial.pretrain.rates for trial in trials_of(path)] == [FROZEN, {"layer1.*": 0.5}, {}]


def test_fine_tuning_in_parts(sweep_file: SweepFile, tmp_path: Path) -> None:
    """From the training and from its file alike: what was frozen in the one is not in the other."""
    rates = {"patch_embed.*": 0, "blocks.0.*": 0, "blocks.1.*": 0.1}
    finetune = {"name": "finetune", "epochs": 1, "batch_size": 32}
    evaluate = [
        finetune | {"protocol": "finetune/mae@2", "as": "all"},
        finetune | {"protocol": "finetune/mae@2", "rates": rates},
        finetune | {"protocol": "finetune/simclr@1", "as": "sgd", "rates": {"*": 0}},
    ]
    frozen = {"pos_embed": 0, "blocks.0.*": 0}
    (trial,) = trials_of(sweep_file(methods=["simclr"], pretrain=PRETRAIN | {"rates": frozen}, evaluate=evaluate))
    at_once = carry(trial, tmp_path / "at once")
    (alone,) = trials_of(sweep_file(methods=["simclr"], pretrain=PRETRAIN | {"rates": frozen}, evaluate=KNN))
    carry(alone, tmp_path / "later")
    later = carry(trial, tmp_path / "later")
    found = [[folder.evaluation(config) for config in trial.evaluate] for folder in (at_once, later)]
    for one, other in zip(*found, strict=True):
        assert one is not None and other is not None and one.metrics == other.metrics
    record = found[0][1]
    assert record is not None and record.changed["rates"] == ["patch_embed.*: 0", "blocks.0.*: 0", "blocks.1.*: 0.1"]
    assert len({evaluation_id(config) for config in trial.evaluate}) == 3


BAD: list[tuple[dict[str, Any], str]] = [
    (
        {"pretrain": {"rates": {"layr1.*": 0}}, **RESNET},
        "pretrain.rates: 'layr1.*' matches no parameter of backbone 'resnet10t'; did you mean 'layer1.0.*'? (it has conv1.",
    ),
    (
        {"methods": [{"name": "byol", "pretrain": {"rates": {"blocks.7.*": 0}}}]},
        "methods[0].pretrain.rates: 'blocks.7.*' matches no parameter of backbone 'vit_tiny_patch16_224'",
    ),
    (
        {"evaluate": [{"name": "finetune", "protocol": "finetune/mae@2", "rates": {"norm.*": 0}}]},
        "evaluate[0].rates: 'norm.*' matches no parameter of backbone 'vit_tiny_patch16_224'; did you mean 'fc_norm.*'?",
    ),
    (
        {"grid": {"pretrain.rates": [{"cls_token": 0}, {"token": 0}]}},
        "grid.pretrain.rates[1]: 'token' matches no parameter of backbone 'vit_tiny_patch16_224'",
    ),
    ({"pretrain": {"rates": {"norm.*": -1}}}, "pretrain.rates.norm.*: got -1; must be at least 0"),
    ({"pretrain": {"rates": 0.1}}, "pretrain.rates: got 0.1; must be a mapping"),
]


@pytest.mark.parametrize(("changes", "message"), BAD, ids=[message.split(":")[0] for _, message in BAD])
def test_what_matches_nothing_is_refused(changes: dict[str, Any], message: str, sweep_file: SweepFile) -> None:
    result = CliRunner().invoke(main, ["validate", str(sweep_file(**changes))])
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.usefixtures("no_tracking")
def test_the_report_tells_of_them(sweep_file: SweepFile) -> None:
    methods = ["simclr", {"name": "simclr", "pretrain": {"rates": {"blocks.0.*": 0}}}]
    outcome = Steered(sweep_file(methods=methods, pretrain=PRETRAIN, evaluate=KNN), InProcessEngine).outcome
    (table,) = render_table(outcome.result)
    column = [column.label for column in table.columns].index("rates")
    assert [row.cells[column].text for row in table.rows] == ["–", "blocks.0.*: 0"]


def test_a_grid_over_rates(sweep_file: SweepFile) -> None:
    grid = {"pretrain.rates": [{}, {"blocks.0.*": 0}]}
    trials = trials_of(sweep_file(backbone=TINY_VIT, grid=grid, evaluate=KNN))
    assert [trial.pretrain.rates for trial in trials] == [{}, {"blocks.0.*": 0}]
