"""All methods of a sweep file in one table: accuracy over `random`, time and peak memory of the pretraining.

    python benchmarks/methods.py sweeps/cifar10-methods.yaml

reads what `ssl-sweep submit` left in the file's storage. What is missing there is run first, one trial after another, on
the GPU where there is one; that needs neither Ray nor MLflow, and gives the same trials.
Times are of the fastest epoch: other work on the machine, and the first steps, make others slower.
"""

import argparse
import gc
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared
from ssl_sweep.orchestrator.spec.errors import SpecError
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.identity import trial_id
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import ResourcesConfig, TrialSpec, data_root
from ssl_sweep.orchestrator.store.files import Store
from ssl_sweep.orchestrator.store.planned import PlannedTrial
from ssl_sweep.orchestrator.store.records import Cost
from ssl_sweep.orchestrator.store.trial_folder import TrialStore
from ssl_sweep.orchestrator.trial.journal import TrialFailed
from ssl_sweep.orchestrator.trial.run import run_trial
from ssl_sweep.orchestrator.trial.runtime import Runtime

HEADER = "| method | backbone | kNN top-1 | linear top-1 | linear over random | images/s | s an epoch | ms a step | peak memory, MB |"


class Done(NamedTuple):
    trial: TrialSpec
    folder: TrialStore


def run(trial_json: str, storage: str, prepared: Prepared, compiled: bool) -> str | None:
    """Run one trial; why it failed, if it did."""
    trial = TrialSpec.model_validate_json(trial_json)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    folder = TrialStore(Store(storage), trial_id(trial, prepared.fingerprint))
    decoders = ResourcesConfig(cpus_per_worker=os.cpu_count() or 1).decoders(device.type == "cuda")
    try:
        run_trial(trial, folder, prepared, Runtime(device, compile=compiled, decoders=decoders))
    except (TrialFailed, torch.OutOfMemoryError) as error:
        return f"{trial.method.name}: {error}"
    return None


def run_apart(*arguments: Any) -> str | None:
    """`run` where its peak of memory is its own: on a CPU that is a process's."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
        return run(*arguments)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(run, *arguments).result()


def completed(path: Path) -> list[Done]:
    """The file's trials, all of them done but those that failed."""
    try:
        spec, document = load_spec(path)
        trials = expand(spec, document)
    except SpecError as error:
        raise SystemExit(str(error)) from None
    found: list[Done] = []
    for trial in trials:
        prepared = prepare(trial.dataset, data_root())
        item = PlannedTrial(trial_id(trial, prepared.fingerprint), trial, prepared)
        folder = TrialStore(Store(spec.storage), item.trial_id)
        if item.missing(folder.status()):
            failure = run_apart(trial.model_dump_json(), spec.storage, prepared, spec.resources.compile)
            print(failure or f"{trial.method.name}: done", flush=True)
        found.append(Done(trial, folder))
    return found


def table(done: list[Done]) -> str:
    """Markdown, a row a trial."""
    chance = {
        row.trial.backbone.model_dump_json(): top1(row, "linear") for row in done if row.trial.method.name == "random"
    }
    lines = [HEADER, "|---|---|" + "--:|" * (HEADER.count("|") - 3)]
    for row in done:
        name, backbone = row.trial.method.name, row.trial.backbone
        linear, base = top1(row, "linear"), chance.get(backbone.model_dump_json())
        over = f"{linear - base:+.1f}" if linear is not None and base is not None and name != "random" else ""
        pooling = backbone.options.get("global_pool")
        cells = [
            name,
            f"{backbone.name}, {pooling}" if pooling else backbone.name,
            figure(top1(row, "knn")),
            figure(linear),
            over,
            *costs(row),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def top1(row: Done, name: str) -> float | None:
    config = next((config for config in row.trial.evaluate if config.name == name), None)
    record = None if config is None else row.folder.evaluation(config)
    return None if record is None else record.metrics["top1"]


def figure(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


def costs(row: Done) -> list[str]:
    """Images/s, seconds an epoch, milliseconds a step, peak memory."""
    record, epochs = row.folder.pretrained(), row.folder.history()
    if record is None or not epochs:
        return ["", "", "", ""]
    batch_size = row.trial.pretrain.batch_size
    rate = max(epoch.images_per_second for epoch in epochs)
    images = epochs[0].step * batch_size
    return [
        f"{rate:,.0f}",
        f"{images / rate:,.1f}",
        f"{1000 * batch_size / rate:,.1f}",
        f"{peak(record.cost) / 1e6:,.0f}",
    ]


def peak(cost: Cost) -> int:
    return cost.gpu_allocated or cost.resident or 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sweep", type=Path, help="a sweep file")
    arguments = parser.parse_args()
    done = completed(arguments.sweep)
    print(table(done), end="\n\n")
    content = done[0].folder.store.read_json(done[0].folder.name("trial.json")) or {}
    print(", ".join(f"{key} {value}" for key, value in content.get("environment", {}).items()))


if __name__ == "__main__":
    main()
