"""Small sweeps, made by hand."""

from ssl_sweep.orchestrator.store.records import (
    Cost,
    EpochRecord,
    EvaluationRecord,
    PretrainRecord,
    Scalar,
    SearchPoint,
    SearchRecord,
    SweepResult,
    TrialResult,
)

COST = Cost(seconds=60, workers=2, device="NVIDIA H200", gpu_allocated=1_500_000_000)


def evaluation(top1: float, name: str = "knn", **changes: object) -> EvaluationRecord:
    protocols = {"knn": "knn/lightly@1", "linear": "linear/simclr@1", "finetune": "finetune/simclr@1"}
    settings: dict[str, Scalar] = {"k": 200, "temperature": 0.1} if name == "knn" else {"epochs": 90}
    fields: dict[str, object] = {
        "name": name,
        "protocol": protocols[name],
        "settings": settings,
        "top1": top1,
        "top5": 99.0,
        "correct1": int(top1 * 100),
        "correct5": 9900,
        "images": 10_000,
        "split": "test",
        "cost": COST,
    }
    return EvaluationRecord.model_validate(fields | changes)


def trial(method: str = "simclr", seed: int = 0, *evaluations: EvaluationRecord, **changes: object) -> TrialResult:
    history = tuple(
        EpochRecord(epoch=e, step=e, loss=5 / e, lr=0.1, images_per_second=1, seconds=e, logs={"knn/top1": 50.0 + e})
        for e in range(1, 5)
    )
    fields: dict[str, object] = {
        "trial_id": f"{method}-{seed}-{changes.get('setting', '')}",
        "method": method,
        "title": {"simclr": "SimCLR", "byol": "BYOL", "dino": "DINO"}.get(method, method),
        "backbone": "resnet18-cifar",
        "dataset": "cifar10",
        "dataset_fingerprint": "abc",
        "image_size": 32,
        "batch_size": 512,
        "epochs": 200,
        "seed": seed,
        "recipe": "lightly",
        "status": "finished",
        "pretrain": PretrainRecord(cost=COST, epochs=200, final_loss=1.0, images_per_second=9000),
        "history": history,
        "evaluations": evaluations,
    }
    return TrialResult.model_validate(fields | changes)


def sweep(*trials: TrialResult, **changes: object) -> SweepResult:
    fields: dict[str, object] = {
        "name": "demo",
        "created": "2026-11-24T03:00:00Z",
        "version": "0.1.0",
        "command": "ssl-sweep run demo.yaml",
        "trials": trials,
    }
    return SweepResult.model_validate(fields | changes)


def searched(*scores: float | None, costs: tuple[float, ...] = ()) -> SearchRecord:
    """A search of one axis, of which a point without a score failed; with `costs`, of two more objectives."""
    points: list[SearchPoint] = []
    for i, score in enumerate(scores):
        found = {} if score is None else {"knn/top1": score}
        found |= {"gpu_hours": costs[i], "parameters": costs[i] * 1e6} if costs else {}
        points.append(SearchPoint(values={"method.t": i}, scores=found, seeds=int(score is not None)))
    best = max((point for point in points if point.scores), key=lambda point: point.scores["knn/top1"], default=None)
    return SearchRecord(
        title="SimCLR",
        backbone="resnet18",
        dataset="cifar10",
        objectives=("knn/top1", "gpu_hours", "parameters") if costs else ("knn/top1",),
        protocol="knn/lightly@1",
        points=tuple(points),
        best=best,
        front=tuple(points) if costs else (),
    )


def full_sweep() -> SweepResult:
    """Two methods and a baseline, a failed trial, a missing one, a search."""
    return sweep(
        *(
            trial(
                "simclr",
                s,
                evaluation(84.0 + s, best_top1=85.0 + s),
                evaluation(88.0 + s, "linear"),
                views=b"\x89PNG\xff" if s == 0 else None,
            )
            for s in range(3)
        ),
        trial("byol", 0, evaluation(86.0, best_top1=86.5), evaluation(90.0, "linear")),
        trial(
            "byol", 1, status="failed", reason="loss became nan\nat step 3", log="trials/byol-1/log.txt", pretrain=None
        ),
        trial("dino", 0, status="waiting", pretrain=None, history=()),
        trial("random", 0, evaluation(40.0), evaluation(45.0, "linear"), pretrain=None, history=()),
        *(
            trial(
                "simclr", 0, evaluation(70.0 + i, split="holdout"), search=True, trial_id=f"s{i}", axes={"method.t": i}
            )
            for i in range(3)
        ),
        searches=(searched(70.0, 71.0, 72.0, costs=(1.0, 2.0, 3.0)),),
    )
