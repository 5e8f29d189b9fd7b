"""Configurations without torch."""

import importlib
import json
import subprocess
import sys

import pytest
from ssl_sweep.methods import METHODS, load_method_class

LIGHT = """
import json, sys
from ssl_sweep.methods import METHODS
print(json.dumps({name: METHODS[name].model_json_schema() for name in METHODS}))
heavy = {"torch", "timm", "torchvision", "ray", "mlflow"} & set(sys.modules)
assert not heavy, heavy
"""


@pytest.fixture(scope="module")
def light_schemas() -> dict[str, object]:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", METHODS)
def test_config_without_torch_is_the_methods_own(name: str, light_schemas: dict[str, object]) -> None:
    method_class = load_method_class(name)
    module = importlib.import_module(method_class.__module__)
    config_class = getattr(module, f"{method_class.__name__}Config")
    assert light_schemas[name] == config_class.model_json_schema()
