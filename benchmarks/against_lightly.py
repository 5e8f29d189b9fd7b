"""Our methods against Lightly's own modules in a plain loop: the kNN that each reaches, and how fast.

    pip install -e '.[peers]'
    python benchmarks/against_lightly.py benchmarks/against_lightly.yaml --results race.jsonl

Every trial of the sweep file is trained twice, by turns: by ssl-sweep, and by `lightly_methods.py`, on the same images,
from the same initial weights of the backbone, with the same epochs and batches, each side with its own views. Both are
scored by the same kNN. Each training has a process of its own with one thread; as many run at once as there are CPUs.

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
from lightly_methods import BATCH_SIZE, LIGHTLY_METHODS, LR, PIXELS, WEIGHT_DECAY, train
from PIL import Image
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared
from ssl_sweep.evaluation.knn import KnnConfig, evaluate_knn
from ssl_sweep.evaluation.task import Task
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
CPU = torch.device("cpu")


class Result(NamedTuple):
    method: str
    seed: int
    side: str
    knn: float  # top-1 in percent
    images_per_second: float  # in pretraining, views included
    final_loss: float


def run_ours(trial: TrialSpec, prepared: Prepared) -> Result:
    with tempfile.TemporaryDirectory() as folder:
        store = TrialStore(Store(folder), "trial")
        run_trial(trial, store, prepared, Runtime(CPU))
        pretraining, evaluation = store.pretrained(), store.evaluation(knn_of(trial))
    assert pretraining is not None and evaluation is not None and pretraining.final_loss is not None
    rate, loss = pretraining.images_per_second, pretraining.final_loss
    return Result(trial.method.name, trial.seed, SIDES[0], evaluation.metrics["top1"], rate, loss)


def run_lightly(trial: TrialSpec, prepared: Prepared) -> Result:
    bank, test = ImageSet.open(prepared, "train"), ImageSet.open(prepared, "test")
    pixels = bank.whole(torch.arange(len(bank))).pixels.permute(0, 2, 3, 1).contiguous().numpy()  # (N, H, W, 3)
    images = [Image.fromarray(image) for image in pixels]
    encoder = new_encoder(trial)
    random.seed(trial.seed)
    np.random.seed(trial.seed)
    method = LIGHTLY_METHODS[trial.method.name](encoder, encoder.dim)
    order = torch.Generator().manual_seed(trial.seed)
    epochs, batch_size = trial.pretrain.epochs, trial.pretrain.batch_size
    start = time.perf_counter()
    losses = train(method, images, epochs, batch_size, order)
    seconds = time.perf_counter() - start
    score = evaluate_knn(Task(encoder.eval(), trial.backbone, bank, test, trial.image_size), knn_of(trial))
    rate = epochs * (len(images) // batch_size) * batch_size / seconds
    return Result(trial.method.name, trial.seed, SIDES[1], score.metrics["top1"], rate, losses[-1])


def run(side: str, trial_json: str, prepared: Prepared) -> Result:
    """One training in this process, with one thread."""
    torch.set_num_threads(1)
    trial = TrialSpec.model_validate_json(trial_json)
    return (run_ours if side == SIDES[0] else run_lightly)(trial, prepared)


def knn_of(trial: TrialSpec) -> KnnConfig:
    return next(config for config in trial.evaluate if isinstance(config, KnnConfig))


def trials_of(path: Path) -> list[TrialSpec]:
    """The file's trials, seed by seed, so that a stopped race has whole seeds."""
    try:
        trials = expand(*load_spec(path))
    except SpecError as error:
        raise SystemExit(str(error)) from None
    for trial in trials:
        if trial.method.name not in LIGHTLY_METHODS:
            raise SystemExit(f"{path}: '{trial.method.name}' is not one of {', '.join(LIGHTLY_METHODS)}")
        optimizer, schedule = trial.pretrain.optimizer, trial.pretrain.schedule
        ours = (trial.image_size, trial.pretrain.batch_size, optimizer.name, optimizer.peak_lr(BATCH_SIZE))
        ours += (optimizer.weight_decay, schedule.warmup_epochs, schedule.final_lr_factor, schedule.by)
        theirs = (PIXELS, BATCH_SIZE, "adamw", LR, WEIGHT_DECAY, 1, 0, "step")
        if ours != theirs:
            raise SystemExit(f"{path}: {trial.method.name} has {ours}, but Lightly's side has {theirs}")
    return sorted(trials, key=lambda trial: trial.seed)


def read(path: Path) -> list[Result]:
    return [Result(**json.loads(line)) for line in path.read_text().splitlines()] if path.exists() else []


def race(trials: list[TrialSpec], prepared: Prepared, path: Path, processes: int) -> None:
    """Run what `path` does not have yet."""
    done = {(result.method, result.seed, result.side) for result in read(path)}
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, spawn, max_tasks_per_child=1) as pool:
        jobs = [
            pool.submit(run, side, trial.model_dump_json(), prepared)
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
        if min(map(len, knn)) < 2:
            continue
        means = [statistics.mean(side) for side in knn]
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
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="trainings at once, one thread each")
    arguments = parser.parse_args()
    trials = trials_of(arguments.sweep)
    race(trials, prepare(trials[0].dataset, data_root()), arguments.results, arguments.processes)
    print(table(read(arguments.results)), end="\n\n")
    print(", ".join(f"{key} {value}" for key, value in environment().items()))


if __name__ == "__main__":
    main()
