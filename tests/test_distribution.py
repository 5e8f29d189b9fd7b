"""What is published: an sdist, the wheel that is built of it, and that wheel in an empty environment."""

import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
BUILD = "from setuptools.build_meta import build_sdist; build_sdist('dist')"
DATA = (".csv", ".jinja", ".txt", ".yaml", ".typed")
"""Endings of files that are no Python."""
LEFT_OUT = ("__pycache__", ".git", ".venv", "runs", "build", "dist", "*.egg-info")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def run(*command: str | Path, cwd: Path, **variables: str) -> str:
    """Its output; what it would import from elsewhere by PYTHONPATH is not there."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("source") / "ssl-sweep"  # a build leaves files beside what it builds
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*LEFT_OUT))
    run(sys.executable, "-c", BUILD, cwd=source)
    (found,) = source.glob("dist/*.tar.gz")
    return found


@pytest.fixture(scope="module")
def wheel(sdist: Path) -> Path:
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index")
    run(*pip, "--wheel-dir", sdist.parent, sdist, cwd=sdist.parent)
    (found,) = sdist.parent.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with the wheel, which sees the dependencies of this one and nothing of this checkout."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # a path file of a path file is not read: an editable installation of this checkout is not seen
    seen = [path for path in sys.path if path.endswith("-packages")]
    (packages / "dependencies.pth").write_text("\n".join(seen))
    run(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", "--no-deps", "--no-index",
        "--ignore-installed", wheel, cwd=folder)  # fmt: skip
    return folder / "bin"


def test_the_sdist_has_what_is_to_be_read_and_no_tests(sdist: Path) -> None:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {"README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "pyproject.toml"} <= names
    assert [name for name in names if name.startswith("tests/")] == []


def test_the_wheel_has_every_file_of_the_packages_that_is_data(wheel: Path) -> None:
    parts = ("orchestrator", "methods", "datasets", "evaluation", "sweeps")
    files = [path for part in parts for path in (ROOT / part).rglob("*") if path.suffix in DATA]
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {f"ssl_sweep/{path.relative_to(ROOT).as_posix()}" for path in files} - names == set()
    assert {"ssl_sweep/__init__.py", "ssl_sweep/__main__.py", "ssl_sweep/py.typed"} <= names
    assert [name for name in names if name.startswith("ssl_sweep/") and name.endswith((".md", ".toml"))] == []


def test_the_command_works_where_only_the_wheel_is(bin_folder: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "sweeps" / "demo.yaml", tmp_path)
    assert VERSION in run(bin_folder / "ssl-sweep", "--version", cwd=tmp_path)
    assert "submit" in run(bin_folder / "ssl-sweep", "--help", cwd=tmp_path)
    assert "demo.yaml: valid" in run(bin_folder / "ssl-sweep", "validate", "demo.yaml", cwd=tmp_path)
    assert "simclr" in run(bin_folder / "ssl-sweep", "published", cwd=tmp_path)


def test_the_package_works_where_only_the_wheel_is(bin_folder: Path, tmp_path: Path) -> None:
    code = "import ssl_sweep; print(ssl_sweep.__version__, ssl_sweep.__file__)"
    version, file = run(bin_folder / "python", "-c", code, cwd=tmp_path).split()
    assert version == VERSION
    assert Path(file).is_relative_to(bin_folder.parent)
