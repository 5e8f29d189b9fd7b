"""Folders of small labelled images, and a sweep over them that has run."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from PIL import Image
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.engine.in_process import InProcessEngine
from steered import Steered

SweepFile = Callable[..., Path]


def write_images(folder: Path, *, labelled: bool = True, seed: int = 0) -> Path:
    """Of two classes, 12 images of each for training and 4 for testing; or files without classes."""
    generator = np.random.default_rng(seed)
    for split, count in (("train", 12), ("test", 4)):
        for label in ("a", "b"):
            place = folder / split / label if labelled else folder
            place.mkdir(parents=True, exist_ok=True)
            for i in range(count):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{split}{label}{i}.png")
    return folder


class FolderSweep:
    """Of a random backbone on `mine`, evaluated also on `pets` and `birds`."""

    def __init__(self, sweep_file: SweepFile, tmp_path: Path):
        self.sweep_file, self.folder = sweep_file, tmp_path
        for seed, name in enumerate(("mine", "pets", "birds")):
            write_images(tmp_path / name, seed=seed)
        self.path = self.write()

    def write(self, **changes: object) -> Path:
        knn = {"name": "knn", "k": 5}
        others = [{**knn, "dataset": f"./{name}"} for name in ("pets", "birds")]
        dataset = {"name": "folder", "path": "mine", "image_size": 8}
        return self.sweep_file(
            **{
                "dataset": dataset,
                "methods": ["random"],
                "evaluate": [knn, *others],
                **changes,
            }
        )

    def submit(self) -> Steered:
        return Steered(self.path, InProcessEngine)

    def lose(self, name: str) -> None:
        shutil.rmtree(self.folder / name)

    def call(self, command: str, *options: str, expect: int = 0) -> Result:
        done = CliRunner().invoke(main, [command, str(self.path), *options], catch_exceptions=False)
        assert done.exit_code == expect, done.output
        return done
