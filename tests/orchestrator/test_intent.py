"""The line with which a submission begins."""

from by_hand import SweepByHand
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.store.trial_status import Progress, TrialStatus
from ssl_sweep.orchestrator.sweep.intent import intent, search_intent


def test_what_becomes_of_each_trial(sweep: SweepByHand) -> None:
    sweep.run()
    done = sweep.status
    statuses = {
        "done": done,
        "resumes at epoch 15": TrialStatus(state=TrialState.INTERRUPTED, attempts=1, progress=Progress(epoch=14)),
        "failed before and is retried": TrialStatus(state=TrialState.FAILED, attempts=1),
        "is computed by another sweep": TrialStatus(state=TrialState.RUNNING, attempts=1),
        "lacks evaluations": done.model_copy(update={"evaluations": {}, "state": TrialState.WAITING}),
        "new": TrialStatus(),
    }
    for words, status in statuses.items():
        told = "nothing is left to run" if words == "done" else f"1 {words}"
        assert intent([(sweep.item, status)]) == f"1 trial: {told}"
    trials = [(sweep.item, status) for status in statuses.values()]
    assert intent([*trials, (sweep.item, done), (sweep.item, TrialStatus())]) == (
        "8 trials: 2 done, 1 is computed by another sweep, 1 resumes at epoch 15, 1 failed before and is retried,"
        " 1 lacks evaluations, 2 new"
    )
    assert intent([(sweep.item, done)] * 3) == "3 trials: nothing is left to run"


def test_what_a_search_tries(sweep: SweepByHand) -> None:
    assert search_intent(sweep.item, "16 sampled points", 0) == "search of SimCLR: 16 sampled points"
    assert search_intent(sweep.item, "16 sampled points", 1) == "search of SimCLR: 16 sampled points (1 is known)"
