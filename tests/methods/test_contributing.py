"""A new method is one file and one line: the example of CONTRIBUTING.md, added to a copy of the package."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NAME = "hypersphere"
PACKAGES = ("methods", "datasets", "evaluation", "orchestrator", "sweeps")


def run(package: Path, *command: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(package), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_passes_the_contract_suite(tmp_path: Path) -> None:
    for name in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / "ssl_sweep" / name, ignore=ignored)
    section = (ROOT / "CONTRIBUTING.md").read_text().split("## Add a method\n")[1].split("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, flags=re.DOTALL)
    folder = tmp_path / "ssl_sweep/methods"
    (folder / f"{NAME}.py").write_text(code)
    listing = (folder / "__init__.py").read_text()
    (folder / "__init__.py").write_text(listing.replace("METHODS = (", f'METHODS = ("{NAME}", '))

    assert f"{NAME} " in run(tmp_path, "ssl_sweep.orchestrator.cli.main", "methods")
    suites = [f"tests/methods/test_{suite}.py" for suite in ("contract", "two_ranks", "catalog")]
    out = run(tmp_path, "pytest", "-o", "addopts=", "-p", "no:cacheprovider", "-k", NAME, *suites)
    passed = re.search(r"(\d+) passed", out)
    assert passed is not None and int(passed[1]) >= 12, out
