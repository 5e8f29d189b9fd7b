"""What the nodes of a cluster are asked before a sweep begins, each question by itself and without Ray."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from ssl_sweep.datasets.config import DatasetConfig
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.orchestrator.engine import check_nodes as module
from ssl_sweep.orchestrator.engine.check_nodes import NodeChecks
from ssl_sweep.orchestrator.spec.errors import UserError
from ssl_sweep.orchestrator.store.files import Store


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is node ``b`` of three."""
    monkeypatch.setattr(ray, "get_runtime_context", lambda: SimpleNamespace(get_node_id=lambda: "b"))
    monkeypatch.setattr(module, "LAG_SECONDS", 0.0)
    monkeypatch.setattr(module, "_alive", lambda: {"a": "one", "b": "two", "c": "three"})


def test_code(monkeypatch: pytest.MonkeyPatch) -> None:
    version, commit = module.package_version(), module.git_commit()
    assert module._problem_with_code(version, commit) is None
    assert module._problem_with_code(version, None) is None
    here = module._named(version, commit)
    assert module._problem_with_code("9.9", None) == f"it has ssl-sweep {here}, and here is 9.9"
    monkeypatch.setattr(module, "git_commit", lambda: "abc+")
    assert module._problem_with_code(version, "abc") == (
        f"it has ssl-sweep {version} (commit abc+), and here is {version} (commit abc)"
    )
    monkeypatch.setattr(module, "NEEDED", ("torch", "no_such_package"))
    assert module._problem_with_code(version, None) == "the package 'no_such_package' is not installed there"


def test_a_node_without_our_code_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def check() -> str | None:
        raise ModuleNotFoundError("No module named 'ssl_sweep'")

    monkeypatch.setattr(ray, "get", lambda checks: checks)
    ask = module._first_problem()
    said = ask([check])
    assert said is not None
    assert said.startswith("Python cannot import 'ssl_sweep' there; install the same ssl-sweep on every node")
    assert ask([lambda: None, lambda: "second"]) == "second"
    with pytest.raises(ZeroDivisionError):
        ask([lambda: str(1 / 0)])


@pytest.mark.usefixtures("node")
def test_the_store_is_seen_and_written(tmp_path: Path) -> None:
    store = Store(str(tmp_path))
    problem = module._problem_with_store(str(tmp_path), "probe")
    assert (
        problem == f"storage '{tmp_path}' is not shared with it; use a folder that all nodes share, or s3:// or gs://"
    )
    store.write("probe", b"")
    assert module._problem_with_store(str(tmp_path), "probe") is None
    assert store.exists("probe.b")
    (tmp_path / "file").touch()
    assert "Not a directory" in str(module._problem_with_store(f"{tmp_path}/file", "probe"))


@pytest.mark.usefixtures("node")
def test_each_node_must_be_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Node ``c`` writes to a folder of its own, node ``a`` has a problem."""

    def ask(nodes: dict[str, str], code: Callable[[], Any], store: Callable[[], Any]) -> dict[str, str]:
        assert store() is None
        return {"a": "one: it is too old"}

    monkeypatch.setattr(module, "_ask", ask)
    with pytest.raises(UserError) as error:
        NodeChecks(Store(str(tmp_path)), tmp_path).code_and_store()
    assert str(error.value).splitlines() == [
        "not every node of the cluster can run this sweep:",
        "  one: it is too old",
        f"  three: what it writes to storage '{tmp_path}' does not appear here",
    ]
    assert list(tmp_path.iterdir()) == []


def test_images(tmp_path: Path) -> None:
    digits = DatasetConfig.model_validate({"name": "digits", "train_images": 20, "test_images": 10})
    assert module._problem_with_data(digits, "unknown", str(tmp_path)) is None  # made anywhere
    away = DatasetConfig.model_validate({"name": "folder", "path": str(tmp_path / "away")})
    assert "there is nothing at" in str(module._problem_with_data(away, "unknown", str(tmp_path)))
    prepared = prepare(digits, tmp_path)
    for folder in tmp_path.glob("digits-*"):
        folder.rename(tmp_path / folder.name.replace("digits", "folder"))
    assert module._problem_with_data(away, prepared.fingerprint, str(tmp_path)) is None  # prepared images are enough
