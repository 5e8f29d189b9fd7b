"""How users name a trial: by its id, by its label, or by a part of either."""

from pathlib import Path

import pytest
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_list import ListedTrial, TrialList
from ssl_sweep.orchestrator.store.trial_names import TrialName, find_trial, trial_names

ONE = TrialName("simclr-vit-digits-b32-e2-s1-aaaaaaaaa1", "simclr temperature=0.1 seed 1")
TEN = TrialName("simclr-vit-digits-b32-e2-s10-aaaaaaaab2", "simclr temperature=0.1 seed 10")
BYOL = TrialName("byol-vit-digits-b32-e2-s1-bbbbbbbbb3", "byol seed 1")
ALL = [ONE, TEN, BYOL]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (ONE.trial_id, ONE),
        ("byol", BYOL),  # the beginning of an id
        ("aaaaaaaab2", TEN),  # the hash, as the live table has it
        ("aaaaaaaab", TEN),
        ("byol seed 1", BYOL),
        ("simclr temperature=0.1 seed 1", ONE),  # a whole label, which is the beginning of another
        ("seed 10", TEN),
        ("s10-", TEN),
    ],
)
def test_a_trial_is_found(text: str, found: TrialName) -> None:
    assert find_trial(text, ALL, "runs") == found


def test_all_that_match_are_listed() -> None:
    with pytest.raises(UserError) as error:
        find_trial("simclr", ALL, "runs")
    first, *rest = str(error.value).splitlines()
    assert first == "'simclr' matches 2 trials; name one of them:"
    assert rest == [f"  {name.trial_id}  {name.label}" for name in (ONE, TEN)]


def test_what_matches_nothing_is_an_error() -> None:
    with pytest.raises(UserError, match=r"no trial 'byol seed 2' in runs; did you mean 'byol seed 1'\?"):
        find_trial("byol seed 2", ALL, "runs")
    with pytest.raises(UserError, match="which has none"):
        find_trial("byol", [], "runs")


def test_names_come_from_the_lists_of_sweeps_and_from_folders(tmp_path: Path) -> None:
    """The values are taken as they are: a plug-in's method may not be installed here."""
    store = Store(str(tmp_path))
    trial = {"method": {"name": "elsewhere"}, "axes": {"pretrain.optimizer.lr": 0.1}, "seed": 3}
    store.write_record("sweeps/one/trials.json", TrialList(trials=(ListedTrial(id="listed", trial=trial),)))
    store.write_json("trials/listed/trial.json", {"id": "listed", "trial": {"seed": 99}})
    store.write_json("trials/alone/trial.json", {"id": "alone", "trial": trial | {"axes": {}}})
    assert trial_names(store) == [("listed", "elsewhere lr=0.1 seed 3"), ("alone", "elsewhere seed 3")]
