"""Another package's methods, evaluation and data set: installed beside ssl-sweep, they are used like our own."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = Path(__file__).with_name("example")
COMMAND = ("-m", "ssl_sweep.orchestrator.cli.main")
AND_TORCH = """
import sys
from ssl_sweep.orchestrator.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print("torch" in sys.modules)
"""
SWEEP = """
name: plugins
dataset: digits
backbone: resnet18-cifar
methods: [simclr, {{name: {method}, variance: 2.0}}]
grid: {{method.variance: [0.5, 1.0]}}
"""
PLUGINS_ALONE = """
name: plugins
dataset: stripes
backbone: {name: vit_tiny_patch16_224, options: {patch_size: 8, embed_dim: 32, depth: 1, num_heads: 2}}
methods: [agreement]
pretrain: {epochs: 1, batch_size: 32}
evaluate: [feature_norm]
"""
REFUSED = {  # entry point: code of the module that it is in
    "broken": "import a_package_that_nobody_has",
    "simclr": "from ssl_sweep.methods.configs.byol import BYOLConfig as Config",
    "wrong_type": "Config = {'temperature': 0.1}",
}


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example package as pip installs it, without a package index."""
    source = tmp_path_factory.mktemp("plugin") / "source"
    shutil.copytree(EXAMPLE, source)  # a build leaves files beside what it builds
    target = source.with_name("installed")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--no-compile", "--target", target, source)
    python("-m", "pip", "--disable-pip-version-check", "install", "--quiet", *options)
    return target


@pytest.fixture
def with_refused(installed: Path, tmp_path: Path) -> tuple[Path, Path]:
    """The example package, and a folder with plug-ins that cannot be used."""
    for name, code in REFUSED.items():
        (tmp_path / f"plugin_{name}.py").write_text(code + "\n")
        information = tmp_path / f"plugin_{name}-1.0.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plugin-{name}\nVersion: 1.0\n")
        (information / "entry_points.txt").write_text(f"[ssl_sweep.methods]\n{name} = plugin_{name}:Config\n")
    return installed, tmp_path


def python(*arguments: object, packages: tuple[Path, ...] = ()) -> tuple[str, str]:
    """Run Python with `packages` beside what is installed; returns stdout and stderr."""
    path = os.pathsep.join(map(str, packages))
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout, done.stderr


def test_a_plugins_methods_are_listed(installed: Path) -> None:
    listed, warnings = python(*COMMAND, "methods", packages=(installed,))
    assert [line.split()[0] for line in listed.splitlines()[-2:]] == ["agreement", "agreement_in_one_file"]
    assert warnings == ""


def test_the_schema_has_a_plugins_methods(installed: Path) -> None:
    schema = json.loads(python(*COMMAND, "schema", packages=(installed,))[0])
    names, *entries = schema["properties"]["methods"]["items"]["anyOf"]
    assert names["enum"][-2:] == ["agreement", "agreement_in_one_file"]
    settings = schema["$defs"][entries[-2]["$ref"].rpartition("/")[2]]["properties"]
    assert settings["variance"]["default"] == 1.0


@pytest.mark.parametrize(("method", "imports_torch"), [("agreement", False), ("agreement_in_one_file", True)])
def test_a_sweep_with_a_plugins_method_is_valid(
    installed: Path, tmp_path: Path, method: str, imports_torch: bool
) -> None:
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(SWEEP.format(method=method))
    out, _ = python("-c", AND_TORCH, "validate", sweep, "--json", packages=(installed,))
    answer, torch_is_imported = out.splitlines()
    assert json.loads(answer) == {"valid": True, "name": "plugins", "trials": 3, "notes": []}
    assert torch_is_imported == str(imports_torch)  # only if configuration and method are in one file


def test_the_plugins_methods_pass_the_contract_suite(installed: Path) -> None:
    options = ("-o", "addopts=", "-p", "no:cacheprovider", "-k", "agreement")
    out, _ = python("-m", "pytest", *options, "tests/methods/test_contract.py", packages=(installed,))
    passed = re.search(r"(\d+) passed", out)
    assert passed is not None and int(passed[1]) >= 2 * 10, out  # of each: 5 tests with two backbones, and one without


def test_a_sweep_of_plugins_alone(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A method, an evaluation and a data set of another package, from the file to the report."""
    monkeypatch.setenv("SSL_SWEEP_DATA", str(tmp_path / "data"))
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(PLUGINS_ALONE)
    out, _ = python(*COMMAND, "submit", sweep, packages=(installed,))
    assert "stripes" in out and "Feature norm" in out
    (row,) = pq.read_table(tmp_path / "runs/sweeps/plugins/report/results.parquet").to_pylist()
    assert row["evaluation"] == "feature_norm" and json.loads(row["metrics"])["mean"] > 0
    with sqlite3.connect(tmp_path / "runs/mlflow.db") as database:
        keys = {key for (key,) in database.execute("select key from latest_metrics")}
    assert {"feature_norm/final_mean", "loss", "epoch_loss"} <= keys


def test_plugins_that_cannot_be_used_are_reported_once_and_skipped(with_refused: tuple[Path, Path]) -> None:
    answer, warnings = python(*COMMAND, "methods", "--json", packages=with_refused)
    names = [row["name"] for row in json.loads(answer)]
    assert names.count("simclr") == 1 and names[-2:] == ["agreement", "agreement_in_one_file"]
    assert not {"broken", "wrong_type"} & set(names)
    titles = {row["name"]: row["title"] for row in json.loads(answer)}
    assert titles["simclr"] == "SimCLR"

    reasons = {
        "broken": "ModuleNotFoundError: No module named 'a_package_that_nobody_has'",
        "simclr": "the name is already in use",
        "wrong_type": "it is not a class that derives from MethodConfig",
    }
    assert sorted(warnings.splitlines()) == [
        f"warning: plug-in '{name}' of package 'plugin-{name}' (plugin_{name}:Config, group ssl_sweep.methods)"
        f" is skipped: {reason}"
        for name, reason in reasons.items()
    ]


def test_a_sweep_without_plugins_hears_nothing_of_them(with_refused: tuple[Path, Path]) -> None:
    out, warnings = python(*COMMAND, "validate", ROOT / "sweeps/demo.yaml", packages=with_refused)
    assert "valid" in out and warnings == ""
