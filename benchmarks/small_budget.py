"""What may explain a difference to a published CIFAR-10 row, each for itself at a small budget, with three seeds.

    python benchmarks/small_budget.py --data PATH [--folder FOLDER] [--images 4000] [--epochs 12]

SimCLR with recipe `lightly` and a narrow ResNet with a 3 x 3 stem is pretrained four times: as published (its stem without ReLU, its
initialisation, float32, exact images), and with one thing changed: stem and initialisation of this project, bfloat16, or images
that were coded as JPEG (quality 75, colours at half the resolution). Seeds are paired: the same seed has the same order of images
and the same views. Scored by kNN and by a
linear classifier on all test images.
"""

import argparse
import io
import pickle
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from PIL import Image
from ssl_sweep.orchestrator.api.environment import configure
from ssl_sweep.orchestrator.sweep.status import stored_sweep

COMMAND = [sys.executable, "-m", "ssl_sweep.orchestrator.cli.main"]
PUBLISHED: dict[str, Any] = {"stem_relu": False, "torch_init": True}
OURS: dict[str, Any] = {"stem_relu": True, "torch_init": False}
NARROW: dict[str, Any] = {"channels": [16, 32, 64, 128], "layers": [1, 1, 1, 1]}


class Arm(NamedTuple):
    """What is pretrained with; the first is what the others are compared with."""

    title: str
    options: dict[str, Any] = PUBLISHED
    precision: str = "float32"
    jpeg: bool = False


ARMS = {
    "published": Arm("as published"),
    "stem": Arm("stem and initialisation of this project", options=OURS),
    "bf16": Arm("bfloat16", precision="bf16"),
    "jpeg": Arm("JPEG-coded images", jpeg=True),
}


class Scores(NamedTuple):
    """Top-1 in %, by seed."""

    knn: list[float]
    linear: list[float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10's official cifar-10-batches-py")
    parser.add_argument("--folder", type=Path, help="where to write; what is there is not computed again")
    parser.add_argument("--images", type=int, default=4000, help="of the training set")
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()
    configure()
    with tempfile.TemporaryDirectory(prefix="ssl-sweep-small-") as scratch:
        folder = (arguments.folder or Path(scratch)).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        code(arguments.data / "cifar-10-batches-py", folder / "jpeg")
        found = {name: run(folder, name, arm, arguments) for name, arm in ARMS.items()}
    print("\n| | kNN | difference | linear | difference |\n|---|--:|--:|--:|--:|")
    for name, scores in found.items():
        cells = [cell for ours, theirs in zip(scores, found["published"], strict=True) for cell in pair(ours, theirs)]
        print(f"| {ARMS[name].title} | {' | '.join(cells)} |")


def code(batches: Path, folder: Path) -> None:
    """The same images in the same order, coded as JPEG, in Parquet files."""
    folder.mkdir(exist_ok=True)
    files = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
    for split, names in files.items():
        rows: list[dict[str, Any]] = []
        for name in names:
            content = pickle.loads((batches / name).read_bytes(), encoding="bytes")
            pixels = content[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            for image, label in zip(pixels, content[b"labels"], strict=True):
                coded = io.BytesIO()
                Image.fromarray(image).save(coded, "jpeg", quality=75, subsampling="4:2:0")
                rows.append({"image": {"bytes": coded.getvalue()}, "label": label})
        pq.write_table(pa.Table.from_pylist(rows), folder / f"{split}-00000-of-00001.parquet")


def run(folder: Path, name: str, arm: Arm, arguments: argparse.Namespace) -> Scores:
    """Submit one arm, if it is not done."""
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(sweep(name, arm, arguments)))
    subprocess.run([*COMMAND, "submit", str(path)], check=True)
    trials = sorted(stored_sweep(path).result("").trials, key=lambda trial: trial.seed)
    by_name = [{record.name: record.metrics["top1"] for record in trial.evaluations} for trial in trials]
    return Scores([scores["knn"] for scores in by_name], [scores["linear"] for scores in by_name])


def sweep(name: str, arm: Arm, arguments: argparse.Namespace) -> dict[str, Any]:
    return {
        "name": f"small-{name}",
        "dataset": {
            "name": "cifar10",
            "path": "jpeg" if arm.jpeg else str(arguments.data.absolute()),
            "train_images": arguments.images,
        },
        "backbone": {"name": "resnet18-cifar", "options": NARROW | arm.options},
        "recipe": "lightly",
        "methods": ["simclr"],
        "pretrain": {
            "epochs": arguments.epochs, "batch_size": 128, "precision": arm.precision,
            "knn_every": arguments.epochs,
        },
        "evaluate": ["knn", {"name": "linear", "augment": False, "protocol": "linear/simclr@1"}],
        "seeds": [0, 1, 2],
        "resources": {"workers": 1},
        "storage": f"runs-{name}",
    }  # fmt: skip


def pair(values: list[float], others: list[float]) -> list[str]:
    """Mean and deviation over the seeds, and those of the differences at the same seed."""
    return [spread(values, ""), spread([a - b for a, b in zip(values, others, strict=True)], "+")]


def spread(values: list[float], sign: str) -> str:
    return f"{statistics.mean(values):{sign}.2f} ± {statistics.stdev(values):.2f}"


if __name__ == "__main__":
    main()
