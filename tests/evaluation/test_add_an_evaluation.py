"""A new evaluation is one file and one line: the example of CONTRIBUTING.md, added to a copy of the package."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from ssl_sweep.evaluation.registry import EVALUATIONS

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("methods", "datasets", "evaluation", "orchestrator", "sweeps")
SWEEP: dict[str, Any] = {
    "name": "added",
    "dataset": {"name": "digits", "train_images": 320, "test_images": 100},
    "backbone": {
        "name": "vit_tiny_patch16_224",
        "options": {"patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2},
    },
    "methods": ["random"],
    "pretrain": {"batch_size": 32},
    "evaluate": ["ncm", {"name": "knn", "k": 20}],
}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of ssl_sweep with the edits that the text names, and no others."""
    folder = tmp_path_factory.mktemp("package")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / "ssl_sweep" / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "__init__.py", folder / "ssl_sweep")
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Add an evaluation\n")[1].split("\n## ")[0]
    code, line = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    assert "`evaluation/ncm.py`" in section and "`evaluation/registry.py`" in section
    (folder / "ssl_sweep/evaluation/ncm.py").write_text(code)
    registry = folder / "ssl_sweep/evaluation/registry.py"
    last = '        "finetune": "finetune:FINETUNE",\n'
    assert registry.read_text().count(last) == 1 and line.count("\n") == 1
    registry.write_text(registry.read_text().replace(last, last + line))
    return folder


def run(package: Path, *arguments: str, expect: int = 0) -> str:
    environment = os.environ | {"PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    environment["SSL_SWEEP_DATA"] = str(package / "data")
    command = [sys.executable, "-m", "ssl_sweep.orchestrator.cli.main", *arguments]
    done = subprocess.run(command, cwd=package, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == expect, done.stdout + done.stderr
    return done.stdout + done.stderr


def write(path: Path, **changes: Any) -> str:
    path.write_text(yaml.safe_dump({**SWEEP, "storage": str(path.parent / "runs"), **changes}, sort_keys=False))
    return str(path)


def test_sweep_files_know_it(package: Path, tmp_path: Path) -> None:
    sweep = write(tmp_path / "sweep.yaml", evaluate=[{"name": "ncm", "normalise": True}, "ncmm"])
    errors = run(package, "validate", sweep, expect=2)
    assert (
        "unknown key 'normalise'; did you mean 'normalize'? (allowed: name, protocol, as, labels, every, dataset, normalize)"
        in errors
    )
    names = [name for ours in EVALUATIONS for name in (ours, *(["ncm"] if ours == "finetune" else []))]
    assert f"unknown name 'ncmm'; did you mean 'ncm'? (allowed: {', '.join(names)})" in errors
    schema = json.loads(run(package, "schema"))
    assert schema["$defs"]["NcmConfig"]["properties"]["normalize"]["default"] is True
    assert {"enum": names} in schema["properties"]["evaluate"]["items"]["anyOf"]
    search = {"space": {"pretrain.batch_size": {"choice": [16, 32]}}, "metric": "ncm/accuracy"}
    assert "valid" in run(package, "validate", write(tmp_path / "search.yaml", search=search))


@pytest.mark.slow
def test_a_sweep_with_it(package: Path, tmp_path: Path) -> None:
    shown = run(package, "submit", write(tmp_path / "sweep.yaml"))
    runs = tmp_path / "runs"
    (path,) = runs.glob("trials/*/evaluations/ncm-sphere@1-*.json")
    record = json.loads(path.read_text())
    assert list(record["metrics"]) == ["accuracy", "worst_class"] and record["images"] == 100
    accuracy = record["metrics"]["accuracy"]
    assert accuracy > 30 and accuracy > record["metrics"]["worst_class"] >= 0  # chance is 10

    report = runs / "sweeps/added/report"
    rows = {row["evaluation"]: row for row in pq.read_table(report / "results.parquet").to_pylist()}
    assert json.loads(rows["ncm"]["metrics"]) == record["metrics"] and rows["ncm"]["top1"] is None
    assert rows["ncm"]["protocol"] == "ncm/sphere@1" and rows["knn"]["top1"] is not None
    for text in ((report / "report.md").read_text(), (report / "report.html").read_text(), shown):
        assert f"{accuracy:.1f}" in text and "NCM" in text and "ncm/sphere@1" in text
    assert "NCM² accuracy | NCM² worst class" in (report / "report.md").read_text()
    with sqlite3.connect(runs / "mlflow.db") as database:
        metrics = dict(database.execute("select key, value from latest_metrics"))
    assert metrics["ncm/final_accuracy"] == pytest.approx(accuracy, rel=1e-6)
    assert {"ncm/final_worst_class", "ncm/seconds", "knn/final_top1"} <= metrics.keys()
