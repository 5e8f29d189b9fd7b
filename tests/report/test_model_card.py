"""The model card of a backbone."""

import yaml
from made_by_hand import evaluation, sweep, trial
from ssl_sweep.orchestrator.report.model_card import model_card


def test_the_card_says_what_the_backbone_is_and_how_well_it_does() -> None:
    one = trial("simclr", 0, evaluation(71.25), departures=("pretrain.epochs = 5",))
    card = model_card(sweep(one), one, "ab" * 32)
    _, head, text = card.split("---\n", 2)
    assert yaml.safe_load(head)["tags"] == ["image-feature-extraction", "self-supervised", "simclr"]
    for expected in (
        "arXiv:2002.05709",
        "knn/lightly@1",
        "top-1 71.2 %",
        "pretrain.epochs = 5",
        "ab" * 32,
        one.trial_id,
    ):
        assert expected in text.replace("\\", "")


def test_a_title_is_no_markup() -> None:
    one = trial("simclr", 0, dataset="a|b*c")
    card = model_card(sweep(one), one, "")
    assert "a\\|b\\*c" in card
    assert "Not evaluated." in card
