"""What several evaluations of one backbone cost beside one: heads in one pass, and evaluations that share features.

    python benchmarks/evaluations.py --images 4000 --size 32 --heads 16

Images are random, the backbone is ResNet-18 for CIFAR. CPU seconds of the process, the best of the turns that contenders take
in one run:

    heads     linear evaluation of one head and of several, on crops (the backbone runs in each step) and on stored features
    shared    one extraction of all training and test images; kNN, linear on stored features and health, with what they share
              extracted once, and each extracting its own
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from ssl_sweep.datasets.config import DatasetConfig
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.evaluation.features import own_features
from ssl_sweep.evaluation.health import HealthConfig, evaluate_health
from ssl_sweep.evaluation.knn import KnnConfig, evaluate_knn
from ssl_sweep.evaluation.linear import LinearConfig, evaluate_linear
from ssl_sweep.evaluation.task import Extracted, Task
from ssl_sweep.methods.config import BackboneConfig
from ssl_sweep.methods.encoder import build_encoder

CLASSES = 10
EPOCHS = 3


def task(folder: Path, arguments: argparse.Namespace) -> Task:
    """Random images of one size in a folder, a fifth of them for the test, and an untrained backbone."""
    draw = np.random.default_rng(0)
    for part, count in (("train", arguments.images), ("test", arguments.images // 4)):
        for number in range(count):
            path = folder / "images" / part / str(number % CLASSES) / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw.integers(0, 256, (arguments.size, arguments.size, 3), np.uint8)).save(path)
    config = DatasetConfig(name="folder", path=str(folder / "images"), image_size=arguments.size)
    prepared = prepare(config, folder / "prepared")
    backbone = BackboneConfig(name="resnet18-cifar")
    torch.manual_seed(0)
    train, test = ImageSet.open(prepared, "train"), ImageSet.open(prepared, "test")
    return Task(build_encoder(backbone, arguments.size), backbone, train, test, arguments.size)


def linear(made: Task, heads: int, *, augment: bool) -> Callable[[], object]:
    rates = tuple(0.1 * 0.7**i for i in range(heads))
    config = LinearConfig(epochs=EPOCHS, lr=rates, augment=augment, selection=0.1)
    return lambda: evaluate_linear(made, config)


def extraction(made: Task) -> None:
    for images in (made.train, made.test):
        own_features(made, images)


def evaluations(made: Task, *, share: bool) -> None:
    """kNN, linear on stored features and label-free health, whose crops are of few images here."""
    made = made._replace(extracted=Extracted() if share else None)
    evaluate_knn(made, KnnConfig())
    evaluate_linear(made, LinearConfig(epochs=90, augment=False))
    evaluate_health(made, HealthConfig(view_images=len(made.test) // 100, views=10))


def cpu_seconds(contenders: dict[str, Callable[[], object]], turns: int) -> dict[str, float]:
    """Of the process, the best turn of each."""
    best = dict.fromkeys(contenders, float("inf"))
    for _, (name, run) in itertools.product(range(turns), contenders.items()):
        began = time.process_time()
        run()
        best[name] = min(best[name], time.process_time() - began)
    return best


def show(title: str, found: dict[str, float]) -> None:
    """Seconds, and ratios to the first."""
    print(f"\n{title}")
    first = next(iter(found.values()))
    for name, seconds in found.items():
        print(f"  {name:48} {seconds:8.2f} s   {seconds / first:5.2f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000, help="for training; the test has a quarter of it")
    parser.add_argument("--size", type=int, default=32, help="pixels")
    parser.add_argument("--heads", type=int, default=16)
    parser.add_argument("--turns", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        made = task(Path(scratch), arguments)
        several = f"{arguments.heads} heads"
        for what, augment in (("crops", True), ("stored features", False)):
            runs = {"1 head": linear(made, 1, augment=augment), several: linear(made, arguments.heads, augment=augment)}
            show(f"linear on {what}, {EPOCHS} epochs", cpu_seconds(runs, arguments.turns))
        runs = {
            "one extraction of all images": lambda: extraction(made),
            "kNN + linear + health, features extracted once": lambda: evaluations(made, share=True),
            "kNN + linear + health, each its own": lambda: evaluations(made, share=False),
        }
        show("evaluations that share features", cpu_seconds(runs, arguments.turns))


if __name__ == "__main__":
    main()
