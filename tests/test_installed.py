"""What a wheel holds: the packages under their names, and the command line as a module."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("orchestrator", "methods", "datasets", "evaluation", "sweeps")
FILES = ("__init__.py", "__main__.py", "py.typed", "pyproject.toml", "README.md", "LICENSE")
BUILD = "from setuptools.build_meta import build_wheel; build_wheel('wheel')"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a wheel puts into `site-packages`."""
    source = tmp_path_factory.mktemp("wheel")  # a build leaves files beside what it builds
    for name in PARTS:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    subprocess.run([sys.executable, "-c", BUILD], cwd=source, check=True, capture_output=True)
    (wheel,) = source.glob("wheel/*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(source / "site-packages")
    return source / "site-packages"


def test_python_m_ssl_sweep_is_the_command_line(installed: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(installed)}
    command = [sys.executable, "-m", "ssl_sweep", "validate", str(ROOT / "sweeps" / "demo.yaml")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "demo.yaml: valid" in done.stdout


def test_a_wheel_holds_every_source_file_and_no_other_module(installed: Path) -> None:
    held = {path.relative_to(installed / "ssl_sweep").as_posix() for path in (installed / "ssl_sweep").rglob("*.py")}
    ours = {path.relative_to(ROOT).as_posix() for name in PARTS for path in (ROOT / name).rglob("*.py")}
    assert held == ours | {"__init__.py", "__main__.py"}
    assert {path.name for path in installed.iterdir() if path.suffix != ".dist-info"} == {"ssl_sweep"}
