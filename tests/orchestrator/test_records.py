"""Records of the earlier version are read like those of this one."""

import pytest
from pydantic import ValidationError
from ssl_sweep.orchestrator.store.events import EVENT, EvaluationDone
from ssl_sweep.orchestrator.store.records import EvaluationRecord
from ssl_sweep.orchestrator.tracking.mlflow_values import metrics_of

EARLIER = {
    "name": "linear",
    "protocol": "linear/simclr@1",
    "settings": {"epochs": 2, "augment": False},
    "changed": {"epochs": 2},
    "top1": 44.0,
    "top5": 90.0,
    "best_top1": 46.0,
    "best_top5": 91.0,
    "correct1": 44,
    "correct5": 90,
    "images": 100,
    "split": "test",
    "cost": {"seconds": 1.5, "workers": 1, "device": "cpu", "resident": 1000},
}


def test_an_earlier_record() -> None:
    record = EvaluationRecord.model_validate(EARLIER)
    assert record.metrics == {"top1": 44.0, "top5": 90.0} and record.best == {"top1": 46.0, "top5": 91.0}
    assert record.counts == {"correct1": 44, "correct5": 90}
    assert EvaluationRecord.model_validate_json(record.model_dump_json()) == record
    assert record.details is None and "details" not in record.model_dump()
    knn = EvaluationRecord.model_validate(EARLIER | {"name": "knn", "best_top1": None, "best_top5": None})
    assert knn.best == {}


def test_an_earlier_record_without_its_numbers_is_refused() -> None:
    with pytest.raises(ValidationError):
        EvaluationRecord.model_validate({key: value for key, value in EARLIER.items() if not key.startswith("top")})


def test_an_earlier_event_has_the_same_metrics_in_mlflow() -> None:
    event = EVENT.validate_python({"kind": "evaluation", "stage": "linear", "time": 1.0} | EARLIER)
    assert {metric.key: metric.value for metric in metrics_of(event)} == {
        "linear/final_top1": 44.0,
        "linear/final_top5": 90.0,
        "linear/best_epoch_top1": 46.0,
        "linear/seconds": 1.5,
        "linear/resident_memory_gb": 1e-6,
    }
    now = EvaluationDone(stage="linear", time=1.0, **dict(EvaluationRecord.model_validate(EARLIER)))
    assert [m.to_dictionary() for m in metrics_of(now)] == [m.to_dictionary() for m in metrics_of(event)]
