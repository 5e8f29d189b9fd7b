"""How long the report of many rows takes to write, and how large it is.

    python benchmarks/report_rows.py ROWS OUT_FOLDER

Writes the report of made-up results: ROWS settings with one seed each, of seven methods on two backbones with learning
rates and temperatures that differ, 100 epochs of history, two evaluations, a picture of the views, some failures, a
random baseline, and the search of one method. Prints the seconds and the sizes.
"""

import io
import random
import sys
import time
from pathlib import Path

from PIL import Image
from ssl_sweep.orchestrator.report import write_report
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

METHODS = {"simclr": "SimCLR", "byol": "BYOL", "dino": "DINO", "moco": "MoCo v2", "swav": "SwAV", "vicreg": "VICReg"}
BACKBONES = ("resnet18-cifar", "vit_tiny_patch16_224")
EPOCHS, POINTS = 100, 60


def made_up_result(rows: int) -> SweepResult:
    """The same for the same number of rows."""
    draw = random.Random(0)
    trials = [_trial(index, draw) for index in range(rows - 1)]
    trials.append(_baseline())
    search = _search(draw)
    return SweepResult(
        name=f"rows-{rows}", created="2026-11-24T03:00:00+00:00", version="0.1.0",
        command=f"ssl-sweep submit rows-{rows}.yaml", trials=tuple(trials), searches=(search,),
    )  # fmt: skip


def _trial(index: int, draw: random.Random) -> TrialResult:
    method = list(METHODS)[index % len(METHODS)]
    lr, decay = round(10 ** draw.uniform(-3, 0), 5), draw.choice([1e-6, 1e-4, 0.05])
    top1 = 75 + 12 * draw.random() - 4 * abs(lr - 0.1)
    failed = index % 50 == 49
    return TrialResult(
        trial_id=f"{method}-{index:010d}", method=method, title=METHODS[method],
        backbone=BACKBONES[index // len(METHODS) % 2], dataset="cifar10", dataset_kind="cifar10",
        dataset_fingerprint="0123456789ab", image_size=32, batch_size=512, epochs=EPOCHS, seed=0, recipe="lightly",
        departures=(f"pretrain.optimizer.lr = {lr} (recipe: 0.06)",), setting=f"{index:012x}",
        crops="2 × 32 px", weights_file=f"/runs/trials/{method}-{index:010d}/backbone.safetensors",
        axes={"pretrain.optimizer.lr": lr, "pretrain.optimizer.weight_decay": decay},
        trained_with={
            "pretrain.optimizer.name": "sgd", "pretrain.optimizer.lr": lr, "pretrain.optimizer.weight_decay": decay,
            "pretrain.optimizer.momentum": 0.9, "method.temperature": 0.1, "pretrain.precision": "bf16",
        },
        status="failed" if failed else "finished", reason="the loss is not finite (nan) at step 321" if failed else None,
        log=f"/runs/trials/{method}-{index:010d}/log.txt",
        pretrain=None if failed else PretrainRecord(
            cost=_cost(600 + 300 * draw.random()), epochs=EPOCHS, final_loss=2.5, images_per_second=9000 + index),
        history=tuple(_epoch(e, top1, draw) for e in range(1, (30 if failed else EPOCHS) + 1)), chance=11.0,
        evaluations=() if failed else (_evaluation("knn", "knn/lightly@1", top1),
                                       _evaluation("linear", "linear/simclr@1", top1 + 3 + draw.random())),
        environment={"git_commit": "0123456789ab", "python": "3.13", "torch": "2.9"}, views=_picture(index),
    )  # fmt: skip


def _baseline() -> TrialResult:
    return TrialResult(
        trial_id="random-0", method="random", title="Random init", backbone=BACKBONES[0], dataset="cifar10",
        dataset_kind="cifar10", dataset_fingerprint="0123456789ab", image_size=32, batch_size=512, epochs=0, seed=0,
        recipe="lightly", setting="random", status="finished",
        pretrain=PretrainRecord(cost=_cost(0.0), epochs=0, images_per_second=0),
        evaluations=(_evaluation("knn", "knn/lightly@1", 31.0), _evaluation("linear", "linear/simclr@1", 40.0)),
    )  # fmt: skip


def _epoch(epoch: int, top1: float, draw: random.Random) -> EpochRecord:
    reached = 1 - 0.97**epoch
    logs = {"knn/top1": 30 + (top1 - 30) * reached + draw.gauss(0, 0.3)} if epoch % 5 == 0 else {}
    return EpochRecord(
        epoch=epoch, step=97 * epoch, loss=6 - 3 * reached + draw.gauss(0, 0.02), lr=0.06, images_per_second=9000,
        seconds=6.0 * epoch, logs=logs,
    )  # fmt: skip


def _evaluation(name: str, protocol: str, top1: float) -> EvaluationRecord:
    settings: dict[str, Scalar | list[Scalar]] = {"k": 200, "temperature": 0.1} if name == "knn" else {"epochs": 90}
    return EvaluationRecord(
        name=name, protocol=protocol, settings=settings, metrics={"top1": round(top1, 2), "top5": 99.0},
        counts={"correct1": round(100 * top1)}, images=10_000, split="test", cost=_cost(30.0),
    )  # fmt: skip


def _cost(seconds: float) -> Cost:
    return Cost(seconds=seconds, workers=1, device="NVIDIA H200", gpu_allocated=3_500_000_000)


def _picture(index: int) -> bytes:
    stream = io.BytesIO()
    noise = Image.frombytes("RGB", (120, 60), random.Random(index).randbytes(120 * 60 * 3))
    noise.save(stream, "PNG")
    return stream.getvalue()


def _search(draw: random.Random) -> SearchRecord:
    points: list[SearchPoint] = []
    for i in range(POINTS):
        lr, temperature, hidden = 10 ** draw.uniform(-3, 0), draw.uniform(0.05, 0.5), draw.choice([512, 1024, 2048])
        score = 80 - 15 * abs(temperature - 0.15) - 6 * abs(lr - 0.1) + draw.gauss(0, 0.4)
        values: dict[str, Scalar] = {
            "pretrain.optimizer.lr": lr, "method.temperature": temperature, "method.hidden_dim": hidden,
            "pretrain.optimizer.name": draw.choice(["sgd", "lars"]),
        }  # fmt: skip
        scores = {} if i % 13 == 12 else {"knn/top1": score, "gpu_hours": 0.2 + hidden / 4096 + 0.1 * draw.random()}
        points.append(SearchPoint(values=values, scores=scores, seeds=int(bool(scores)), stopped=i % 9 == 8))
    scored = [point for point in points if point.scores and not point.stopped]
    best = max(scored, key=lambda point: point.scores["knn/top1"])
    front = [p for p in scored if not any(_dominates(other, p) for other in scored)]
    return SearchRecord(
        title="SimCLR", backbone=BACKBONES[0], dataset="cifar10", objectives=("knn/top1", "gpu_hours"),
        protocol="knn/lightly@1", points=tuple(points), best=best, front=tuple(front),
    )  # fmt: skip


def _dominates(a: SearchPoint, b: SearchPoint) -> bool:
    better = a.scores["knn/top1"] >= b.scores["knn/top1"], a.scores["gpu_hours"] <= b.scores["gpu_hours"]
    return all(better) and a is not b


def main() -> None:
    rows, out = int(sys.argv[1]), Path(sys.argv[2])
    result = made_up_result(rows)
    began, used = time.perf_counter(), time.process_time()
    files = write_report(result, out, lambda trial: f"../{trial.trial_id}/log.txt")
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    print(f"{rows} rows: {seconds:.1f} s ({processor:.1f} s of processor time)")
    for path in (files.html, files.markdown, files.csv, files.statistics, files.parquet):
        print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
