"""Early stopping and Optuna beside the full grid, on CIFAR-10: what each finds, and what it takes.

    python benchmarks/search.py --data PATH [--folder FOLDER] [--images 4000] [--epochs 9] [--workers 2]

The same axes are searched twice by `ssl-sweep submit`: every point of the grid, each trained to its end; and as many points that
Optuna samples (`tpe`) under ASHA. Both choose by kNN on held-out training images. The chosen points are then trained on the
whole set with three seeds and scored on test images, which tells whether what they found differs by more than the seeds do.
Hours are those of the searches' trials, stopped ones included, without the final trainings.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from ssl_sweep.orchestrator.api.environment import configure
from ssl_sweep.orchestrator.search.objectives import hours_of
from ssl_sweep.orchestrator.store.records import SearchRecord
from ssl_sweep.orchestrator.sweep.status import stored_sweep

COMMAND = [sys.executable, "-m", "ssl_sweep.orchestrator.cli.main"]
LEARNING_RATES = [0.0003, 0.001, 0.003, 0.01, 0.03]
TEMPERATURES = [0.05, 0.1, 0.2, 0.5]
POINTS = len(LEARNING_RATES) * len(TEMPERATURES)
ASHA = {"grace_epochs": 1, "reduction": 3}
SEARCHES: dict[str, dict[str, Any]] = {
    "grid": {"algorithm": "grid"},
    "asha": {"algorithm": "tpe", "trials": POINTS, "early_stopping": ASHA},
}


class Found(NamedTuple):
    """What a search found, and what it took."""

    search: SearchRecord
    hours: float
    epochs: int
    """That all its trials were trained."""
    tests: list[float]
    """Test accuracy of the chosen point, by seed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="CIFAR-10's images, in any form that a sweep takes")
    parser.add_argument("--folder", type=Path, help="where to write; what is there is not computed again")
    parser.add_argument("--images", type=int, default=4000, help="of the training set")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--workers", type=int, default=2, help="trials at once, each on one CPU")
    arguments = parser.parse_args()
    configure()
    with tempfile.TemporaryDirectory(prefix="ssl-sweep-search-") as scratch:
        folder = (arguments.folder or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        found = {name: run(folder, name, search, arguments) for name, search in SEARCHES.items()}
    for name, one in found.items():
        print(line(name, one))
    asha, grid = found["asha"], found["grid"]
    apart = statistics.mean(asha.tests) - statistics.mean(grid.tests)
    noise = statistics.stdev(grid.tests)
    print(
        f"asha takes {asha.hours / grid.hours:.2f} of the grid's hours and {asha.epochs / grid.epochs:.2f} of its epochs;"
        f" its point is {apart:+.2f} apart on the test images, seeds ±{noise:.2f}"
    )


def run(folder: Path, name: str, search: dict[str, Any], arguments: argparse.Namespace) -> Found:
    """Submit one of the searches, if it is not done."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(sweep(name, search, arguments)))
    subprocess.run([*COMMAND, "submit", str(path)], check=True)
    stored = stored_sweep(path)
    result = stored.result("")
    (record,) = result.searches
    sampled = [item for item in stored.planned if item.trial.split == "holdout"]
    states = [stored.state.trials[item.trial_id] for item in sampled]
    hours = sum(hours_of(state, 1.0) for state in states)
    epochs = sum(state.pretrain.epochs if state.pretrain else state.progress.epoch for state in states)
    tests = [record.metrics["top1"] for trial in result.trials if not trial.search for record in trial.evaluations]
    return Found(record, hours, epochs, tests)


def sweep(name: str, search: dict[str, Any], arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "name": f"search-{name}",
        "dataset": {
            "name": "cifar10", "path": str(arguments.data.absolute()), "train_images": arguments.images,
            "test_images": 2000, "holdout": 0.25,
        },
        "backbone": {"name": "resnet10t", "options": {"stem_type": "", "channels": [32, 64, 96, 128]}},
        "methods": ["simclr"],
        "seeds": [0, 1, 2],
        "pretrain": {
            "epochs": arguments.epochs, "batch_size": 128, "knn_every": 1,
            "optimizer": {"name": "adamw", "lr": 0.001}, "schedule": {"warmup_epochs": 1},
        },
        "evaluate": [{"name": "knn", "k": 20}],
        "search": {
            "space": {
                "pretrain.optimizer.lr": {"choice": LEARNING_RATES},
                "method.temperature": {"choice": TEMPERATURES},
            },
            **search,
        },
        "resources": {"workers": 1, "concurrent_trials": arguments.workers},
        "storage": f"runs-{name}",
    }  # fmt: skip


def line(name: str, found: Found) -> str:
    best, tests = found.search.best, found.tests
    assert best is not None
    stopped = sum(point.stopped for point in found.search.points)
    return (
        f"{name}: {len(found.search.points)} points, {stopped} stopped early, {found.hours:.2f} hours of a CPU,"
        f" {found.epochs} epochs;"
        f" best {best.values}, held-out {best.scores[found.search.objectives[0]]:.1f},"
        f" test {statistics.mean(tests):.2f} ± {statistics.stdev(tests):.2f} (n = {len(tests)})"
    )


if __name__ == "__main__":
    main()
