"""A method's configuration is one class, whether its method has been imported or not."""

import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from ssl_sweep.methods import METHODS, MethodConfig, build_method, configs, load_method_class
from ssl_sweep.methods.build import refusal
from ssl_sweep.methods.config import ViewsConfig
from ssl_sweep.methods.view_presets import simclr_views

LIGHT = """
import json, pickle, sys
from ssl_sweep.methods import METHODS
configs = {name: METHODS[name] for name in sys.argv[1:]}
of_methods = {name: (config.model_json_schema(), pickle.dumps(config()).hex()) for name, config in configs.items()}
heavy = {"torch", "timm", "torchvision", "ray", "mlflow", "numpy"} & set(sys.modules)
assert not heavy, heavy
print(json.dumps(of_methods))
"""
ORDERS = """
import importlib, pickle, sys
from ssl_sweep.methods import METHODS, load_method_class
first, *names = sys.argv[1:]
for name in names:
    if first == "config":
        config_class = METHODS[name]
        method_class = load_method_class(config_class)
    else:
        module = importlib.import_module(f"ssl_sweep.methods.{name}")
        config_class = METHODS[name]
        method_class = load_method_class(config_class)
        assert method_class is getattr(module, method_class.__name__)
    module = sys.modules[method_class.__module__]
    assert getattr(module, config_class.__name__) is config_class
    config = config_class()
    assert isinstance(config, getattr(module, config_class.__name__))
    again = pickle.loads(pickle.dumps(config))
    assert type(again) is config_class and again == config
    assert pickle.loads(pickle.dumps((config_class, method_class))) == (config_class, method_class)
"""
SPLIT = sorted(path.stem for path in Path(configs.__file__).parent.glob("[a-z]*.py"))


def run(code: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def without_torch() -> dict[str, tuple[object, str]]:
    """Schema of each configuration, and its pickled defaults, from a process that has not imported torch."""
    return json.loads(run(LIGHT, *SPLIT))


@pytest.mark.parametrize("name", SPLIT)
def test_a_config_from_a_process_without_torch_is_the_methods_own(
    name: str, without_torch: dict[str, tuple[object, str]]
) -> None:
    config_class = METHODS[name]
    assert load_method_class(config_class).__name__ == config_class.__name__.removesuffix("Config")
    schema, pickled = without_torch[name]
    assert schema == config_class.model_json_schema()
    config = pickle.loads(bytes.fromhex(pickled))
    assert type(config) is config_class and config == config_class()


@pytest.mark.parametrize("first", ["config", "method"])
def test_there_is_one_class_in_either_order_of_imports(first: str) -> None:
    run(ORDERS, first, *SPLIT)


class NowhereConfig(MethodConfig):
    title = "Nowhere"
    paper = "A configuration without a method"
    family = "baseline"
    pretrain = METHODS["random"].pretrain

    name: str = "nowhere"
    views: ViewsConfig = simclr_views(count=1)


class Nameless(NowhereConfig):
    pass


class UntitledConfig(MethodConfig):
    name: str = "untitled"
    views: ViewsConfig = simclr_views(count=1)


class NeedyConfig(NowhereConfig):
    name: str = "needy"
    width: int


class ThreeViewsConfig(NowhereConfig):
    name: str = "three_views"
    views: ViewsConfig = simclr_views(count=3)


def test_a_config_without_a_method_says_which_class_is_missing() -> None:
    with pytest.raises(
        TypeError, match=r"NowhereConfig configures class Nowhere, but test_configs defines no such Method"
    ):
        build_method(NowhereConfig(), None, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "found", "reason"),
    [
        ("nowhere", NowhereConfig, None),
        ("nowhere", 3, "is not a class that derives from MethodConfig"),
        ("nowhere", dict, "is not a class that derives from MethodConfig"),
        ("nowhere", NowhereConfig(), "is not a class that derives from MethodConfig"),
        ("elsewhere", NowhereConfig, "has the name 'nowhere'"),
        ("nowhere", Nameless, "is named Nameless; the configuration of class X must be named XConfig"),
        ("untitled", UntitledConfig, "does not set title, paper, family, pretrain"),
        ("needy", NeedyConfig, "is not valid without settings (width: Field required)"),
    ],
)
def test_what_cannot_be_a_methods_config_is_refused(name: str, found: object, reason: str | None) -> None:
    assert refusal(name, found) == reason


def test_defaults_that_contradict_each_other_are_refused() -> None:
    reason = refusal("three_views", ThreeViewsConfig)
    assert reason is not None and "takes 1 global view of an image, but `views.global_views` has 3" in reason
