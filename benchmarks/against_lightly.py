"""Our methods against Lightly's own modules in a plain loop: the kNN that each reaches, and how fast.

    pip install -e '.[peers]'
    python benchmarks/against_lightly.py benchmarks/against_lightly.yaml --results race.jsonl
    python benchmarks/against_lightly.py sweeps/reproduce/lightly-cifar10-b512.yaml --methods simclr --epochs 200 \\
        --device cuda --decoders 14 --results simclr.jsonl

The second line is the control of a row of Lightly's CIFAR-10 table that misses: the row as the sweep has it, and Lightly's
modules on the same machine, images and initial weights.

Every trial of the sweep file is trained twice, by turns: by ssl-sweep, and by `lightly_methods.py`, on the same images,
from the same initial weights of the backbone, with the same optimizer, epochs and batches, each side with its own views. Both are
scored by the same kNN. Each training has a process of its own with one thread; on CPUs as many run at once as there are, on a GPU one.

A result is a line in the results file, and what stands there is not run again, so that the race can be stopped. The table
says `ahead` or `level` where our mean over the seeds is at least Lightly's less the spread, which is the standard
deviation over the seeds, pooled over both sides; else `behind`.
"""

import argparse
import json
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightly_methods import LIGHTLY_METHODS, PIXELS, Plan, new_method, train
from PIL import Image
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared
from ssl_sweep.evaluation.knn import KnnConfig, evaluate_knn
from ssl_sweep.evaluation.task import Task
from ssl_sweep.orchestrator.spec.departures import departures
from ssl_sweep.orchestrator.spec.errors import SpecError
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import TrialSpec, data_root
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.trial.learner import new_encoder
from ssl_sweep.orchestrator.trial.run import run_trial
from ssl_sweep.orchestrator.trial.runtime import Runtime, environment

SIDES = ("ssl-sweep", "lightly")


class Result(NamedTuple):
    method: str
    seed: int
    side: str
    knn: float  # top-1 in percent
    images_per_second: float  # in pretraining, views included
    final_loss: float


def run_ours(trial: TrialSpec, prepared: Prepared, device: torch.device, decoders: int = 0) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        store = TrialStore(Store(folder), "trial")
        run_trial(trial, store, prepared, Runtime(device, decoders=decoders))
        pretraining, evaluation = store.pretrained(), store.evaluation(knn_of(trial))
    assert pretraining is not None and evaluation is not None and pretraining.final_loss is not None
    rate, loss = pretraining.images_per_second, pretraining.final_loss
    return Result(trial.method.name, trial.seed, SIDES[0], evaluation.metrics["top1"], rate, loss)


def run_lightly(trial: TrialSpec, prepared: Prepared, device: torch.device, decoders: int = 0) -> Result:
    bank, test = ImageSet.open(prepared, "train"), ImageSet.open(prepared, "test")
    pixels = bank.whole(torch.arange(len(bank))).pixels.permute(0, 2, 3, 1).contiguous().numpy()  # (N, H, W, 3)
    images = [Image.fromarray(image) for image in pixels]
    encoder = new_encoder(trial)
    random.seed(trial.seed)
    np.random.seed(trial.seed)
    plan = plan_of(trial)
    method = new_method(trial.method.name, encoder, encoder.dim, plan)
    order = torch.Generator().manual_seed(trial.seed)
    epochs, batch_size = plan.epochs, plan.batch_size
    start = time.perf_counter()
    losses = train(method, images, plan, order, device, decoders)
    seconds = time.perf_counter() - start
    score = evaluate_knn(Task(encoder.eval(), trial.backbone, bank, test, trial.image_size), knn_of(trial))
    rate = epochs * (len(images) // batch_size) * batch_size / seconds
    return Result(trial.method.name, trial.seed, SIDES[1], score.metrics["top1"], rate, losses[-1])


def run(side: str, trial_json: str, prepared: Prepared, device: torch.device, decoders: int) -> Result:
    """One training in this process, with one thread."""
    torch.set_num_threads(1)
    trial = TrialSpec.model_validate_json(trial_json)
    return (run_ours if side == SIDES[0] else run_lightly)(trial, prepared, device, decoders)


def plan_of(trial: TrialSpec) -> Plan:
    """How Lightly's side is trained.

    Raises:
        ValueError: the trial has something that Lightly's side has not.
    """
    pretrain, optimizer, schedule = trial.pretrain, trial.pretrain.optimizer, trial.pretrain.schedule
    by_epoch = schedule.by == "epoch"
    wanted = {
        f"images of {PIXELS} pixels": trial.image_size == PIXELS,
        "recipe: lightly": trial.recipe == "lightly",
        "the recipe's own settings of the method": not any(text.startswith("method.") for text in departures(trial)),
        "precision: float32": pretrain.precision == "float32",
        "sgd, adam or adamw": optimizer.name in ("sgd", "adam", "adamw") and optimizer.momentum == 0.9,
        "the usual betas": optimizer.betas == (0.9, 0.999),
        "exclude_norm_and_bias: false": not optimizer.exclude_norm_and_bias and optimizer.norm_and_bias_lr == 1,
        "a constant weight decay": optimizer.final_weight_decay is None,
        "no clipping, whole batches": optimizer.clip_norm is None and pretrain.accumulate == 1,
        "final_lr_factor: 0, no warm-up by epoch": not schedule.final_lr_factor
        and not (by_epoch and schedule.warmup_epochs),
    }
    missing = [rule for rule, holds in wanted.items() if not holds]
    if missing:
        raise ValueError(f"{trial.method.name}: Lightly's side needs {'; '.join(missing)}")
    rates = (optimizer.peak_lr(pretrain.batch_size), optimizer.weight_decay, int(schedule.warmup_epochs))
    return Plan(optimizer.name, *rates, by_epoch, pretrain.epochs, pretrain.batch_size)


def knn_of(trial: TrialSpec) -> KnnConfig:
    return next(config for config in trial.evaluate if isinstance(config, KnnConfig))


def trials_of(path: Path, methods: list[str] | None = None, epochs: int | None = None) -> list[TrialSpec]:
    """The file's trials of these methods and epochs, seed by seed, so that a stopped race has whole seeds."""
    try:
        trials = expand(*load_spec(path))
    except SpecError as error:
        raise SystemExit(str(error)) from None
    trials = [trial for trial in trials if methods is None or trial.method.name in methods]
    trials = [trial for trial in trials if epochs in (None, trial.pretrain.epochs)]
    if len({(trial.method.name, trial.seed) for trial in trials}) != len(trials) or not trials:
        raise SystemExit(f"{path}: name one row of a method by --methods and --epochs; found {len(trials)} trials")
    for trial in trials:
        if trial.method.name not in LIGHTLY_METHODS:
            raise SystemExit(f"{path}: '{trial.method.name}' is not one of {', '.join(LIGHTLY_METHODS)}")
        try:
            plan_of(trial)
        except ValueError as error:
            raise SystemExit(f"{path}: {error}") from None
    return sorted(trials, key=lambda trial: trial.seed)


def read(path: Path) -> list[Result]:
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def race(
    trials: list[TrialSpec], prepared: Prepared, path: Path, processes: int, device: torch.device, decoders: int
) -> None:
    """Run what `path` does not have yet."""
    done = {(result.method, result.seed, result.side) for result in read(path)}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, max_tasks_per_child=1) as pool:
        jobs = [
            pool.submit(run, side, trial.model_dump_json(), prepared, device, decoders)
            for trial in trials
            for side in SIDES
            if (trial.method.name, trial.seed, side) not in done
        ]
        for job in as_completed(jobs):
            with path.open("a") as file:
                file.write(json.dumps(job.result()._asdict()) + "\n")
            print(job.result(), flush=True)


def table(results: list[Result]) -> str:
    """Markdown: a row a method."""

    def values(method: str, side: str, field: str) -> list[float]:
        return [getattr(result, field) for result in results if (result.method, result.side) == (method, side)]

    lines = [
        "| method | seeds | kNN top-1, ssl-sweep | kNN top-1, Lightly | difference | spread | | images/s, ssl-sweep |"
        " images/s, Lightly | ratio |",
        "|---|--:|--:|--:|--:|--:|---|--:|--:|--:|",
    ]
    for method in dict.fromkeys(result.method for result in results):
        knn = [values(method, side, "knn") for side in SIDES]
        rates = [statistics.mean(values(method, side, "images_per_second") or [0.0]) for side in SIDES]
        if not min(map(len, knn)):
            continue
        means = [statistics.mean(side) for side in knn]
        if min(map(len, knn)) < 2:
            scores = " | ".join(f"{mean:.1f}" for mean in means)
            lines.append(
                f"| {method} | 1 | {scores} | {means[0] - means[1]:+.1f} | | one seed | {rates[0]:,.0f} | {rates[1]:,.0f} |"
                f" {rates[0] / rates[1]:.1f} |"
            )
            continue
        spread = statistics.mean(statistics.variance(side) for side in knn) ** 0.5
        difference = means[0] - means[1]
        verdict = "ahead" if difference > spread else "level" if difference >= -spread else "behind"
        scores = [f"{mean:.1f} ± {statistics.stdev(side):.1f}" for mean, side in zip(means, knn, strict=True)]
        lines.append(
            f"| {method} | {min(map(len, knn))} | {scores[0]} | {scores[1]} | {difference:+.1f} | {spread:.1f} | {verdict} |"
            f" {rates[0]:,.0f} | {rates[1]:,.0f} | {rates[0] / rates[1]:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="a sweep file with these methods")
    parser.add_argument("--results", type=Path, required=True, help="a line of JSON for each training; appended to")
    parser.add_argument("--methods", nargs="+", help="these alone")
    parser.add_argument("--epochs", type=int, help="of a grid over epochs, this point alone")
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"), help="cpu or cuda")
    parser.add_argument("--processes", type=int, help="trainings at once; unset: one a CPU, on a GPU one")
    parser.add_argument("--decoders", type=int, default=0, help="processes that make views, of each training")
    arguments = parser.parse_args()
    trials = trials_of(arguments.sweep, arguments.methods, arguments.epochs)
    device: torch.device = arguments.device
    processes = arguments.processes or (1 if device.type == "cuda" else os.cpu_count() or 1)
    prepared = prepare(trials[0].dataset, data_root())
    race(trials, prepared, arguments.results, processes, device, arguments.decoders)
    print(table(read(arguments.results)), end="\n\n")
    print(", ".join(f"{key} {value}" for key, value in environment().items()))


if __name__ == "__main__":
    main()
