"""Commands that only look at a file are quick: neither torch nor Ray nor MLflow is imported."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

RUN = """
import sys
from ssl_sweep.orchestrator.cli.main import main
try:
    main(sys.argv[1:])
finally:
    heavy = {"torch", "torchvision", "timm", "ray", "mlflow", "numpy", "pandas", "pyarrow", "optuna", "sklearn", "matplotlib"}
    print("imported:", sorted(heavy & set(sys.modules)))
"""
SKETCH = Path(__file__).with_name("sketch.yaml")
COMMANDS = {
    "validate": ["validate", str(SKETCH)],
    "published": ["published"],
    "help": ["--help"],
    "schema": ["schema"],
    "methods": ["methods"],
    "datasets": ["datasets"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_heavy_is_imported(name: str) -> None:
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", RUN, *COMMANDS[name]], capture_output=True, text=True, timeout=60, check=True
    )
    print(f"{name}: {time.perf_counter() - start:.2f} s")  # pytest -s shows it; under 0.5 s where nothing else runs
    assert done.stdout.splitlines()[-1] == "imported: []"
    assert done.stderr == ""
