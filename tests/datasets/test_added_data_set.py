"""A data set from CONTRIBUTING.md, with exactly the edits it names, and data sets of other packages."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ssl_sweep.datasets import DATASETS
from ssl_sweep.datasets.config import DatasetConfig

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("methods", "datasets", "evaluation", "orchestrator", "sweeps")
SWEEP = {
    "name": "added",
    "backbone": "resnet18-cifar",
    "methods": ["simclr"],
    "pretrain": {"batch_size": 64},
    "evaluate": [{"name": "knn", "k": 20}],
}


class Installation:
    """A command line with other packages beside it, in a folder of its own."""

    def __init__(self, folder: Path, packages: Path):
        self.folder, self.packages = folder, packages

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {
            "PYTHONPATH": str(self.packages),
            "SSL_SWEEP_DATA": str(self.folder / "data"),
            "OMP_NUM_THREADS": "1",
        }
        return subprocess.run(
            [sys.executable, "-m", "ssl_sweep.orchestrator.cli.main", *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def output(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def sweep(self, dataset: object) -> str:
        (self.folder / "sweep.yaml").write_text(yaml.safe_dump({**SWEEP, "dataset": dataset}))
        return "sweep.yaml"


def section(title: str) -> str:
    (found,) = re.findall(rf"^## {title}$(.*?)^## ", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL | re.MULTILINE)
    return found


def works(installed: Installation, name: str, train: int, test: int) -> None:
    assert re.search(rf"^{name} +\S", installed.output("datasets"), re.MULTILINE)
    assert name in json.loads(installed.output("schema"))["$defs"]["DatasetConfig"]["properties"]["name"]["enum"]
    prepared = installed.output("prepare", name, "--verify")
    assert f"train        {train} images" in prepared and f"test         {test} images" in prepared
    installed.output("validate", installed.sweep(name))
    plan = installed.output("plan", installed.sweep({"name": name, "train_images": 128}))
    assert name in plan


def test_the_example_is_one_file_and_one_line(tmp_path: Path) -> None:
    packages = tmp_path / "packages"
    for name in PACKAGES:
        shutil.copytree(ROOT / name, packages / "ssl_sweep" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "__init__.py", packages / "ssl_sweep")
    folder = packages / "ssl_sweep" / "datasets"
    code, line = re.findall(r"```python\n(.*?)```", section("Add a data set"), flags=re.DOTALL)
    (folder / "shapes.py").write_text(code)
    listing = (folder / "registry.py").read_text()
    last = '        "torchvision": "descriptions:TORCHVISION_CLASS",\n'
    assert last in listing and line.count("\n") == 1
    (folder / "registry.py").write_text(listing.replace(last, last + line))
    works(Installation(tmp_path, packages), "shapes", 540, 60)


PLUGIN = """
import numpy as np
from ssl_sweep.datasets import Dataset
from ssl_sweep.datasets.sources import Source, SourceRequest, array_rows, split_off_test

def stripes(request: SourceRequest) -> Source:
    labels = np.arange(100) % 2
    images = np.stack([np.full((8, 8, 3), 200 * label + row, np.uint8) for row, label in enumerate(labels % 2)])
    return split_off_test(("dark", "bright"), array_rows(images, labels + {shift}, "stripes"))

STRIPES = Dataset(name="stripes", description="{description}", image_size=16, open=f"{{__name__}}:stripes", needs_path={needs})
OTHER = Dataset(name="other", description="has another name than its entry point", image_size=16, open="nowhere:nothing")
NUMBER = 3
"""


def installed(tmp_path: Path, entries: dict[str, str], shift: int = 0, needs: bool = False) -> Installation:
    """With another package whose entry points are `entries`."""
    metadata = tmp_path / "packages" / "more_data-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: more-data\nVersion: 1.0\n")
    lines = ["[ssl_sweep.datasets]", *(f"{name} = {value}" for name, value in entries.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    content = PLUGIN.format(shift=shift, needs=needs, description="two kinds of stripes")
    (tmp_path / "packages" / "more_data.py").write_text(content)
    return Installation(tmp_path, tmp_path / "packages")


def test_a_data_set_of_another_package(tmp_path: Path) -> None:
    works(installed(tmp_path, {"stripes": "more_data:STRIPES"}), "stripes", 90, 10)


def test_what_another_package_gets_wrong_is_reported_and_skipped(tmp_path: Path) -> None:
    entries = {
        "missing": "more_data:MISSING",
        "digits": "more_data:STRIPES",
        "number": "more_data:NUMBER",
        "renamed": "more_data:OTHER",
        "stripes": "more_data:STRIPES",
    }
    done = installed(tmp_path, entries).run("datasets", "--json")
    names = [entry["name"] for entry in json.loads(done.stdout)]
    assert "stripes" in names and names.count("digits") == 1
    assert not {"missing", "number", "renamed"} & set(names)
    for reason in (
        "plug-in 'missing' of package 'more-data' (more_data:MISSING, group ssl_sweep.datasets) is skipped: AttributeError",
        "plug-in 'digits' of package 'more-data' (more_data:STRIPES, group ssl_sweep.datasets) is skipped: the name is",
        "is skipped: it is of type int, not Dataset",
        "is skipped: it calls itself 'other'",
    ):
        assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_another_package_s_labels_are_checked_and_its_path_is_asked_for(tmp_path: Path) -> None:
    done = installed(tmp_path, {"stripes": "more_data:STRIPES"}, shift=1).run("prepare", "stripes")
    assert done.returncode == 2 and "data set 'stripes' has the label 2, but 2 classes" in done.stderr
    other = installed(tmp_path / "other", {"stripes": "more_data:STRIPES"}, needs=True)
    done = other.run("validate", other.sweep("stripes"))
    assert done.returncode == 2 and done.stderr == "sweep.yaml:2:10: dataset: data set 'stripes' needs a `path`\n"


@pytest.mark.parametrize("name", DATASETS)
def test_every_data_set_is_described(name: str) -> None:
    known = DATASETS[name]
    assert known.name == name and "\n" not in known.description
    assert DatasetConfig.model_json_schema()["properties"]["name"]["enum"] == list(DATASETS)
