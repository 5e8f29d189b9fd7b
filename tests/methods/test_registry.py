"""A registry of what we have and what other packages add."""

import logging
import sys
from pathlib import Path

import pytest
from ssl_sweep.methods.registry import Registry

OWN = {"path": "catalogue:PATH"}  # in a package that the fixture writes


def refusal(name: str, found: object) -> str | None:
    return None if isinstance(found, str) else "is not text"


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[str]:
    write_package(
        tmp_path,
        "good",
        "GOOD, OTHER = 'text', 'more text'",
        {"good": "good:GOOD", "other": "good:OTHER"},
    )
    write_package(tmp_path, "broken", "import a_package_that_nobody_has", {"broken": "broken:ANY"})
    write_package(tmp_path, "raises", "raise RuntimeError('first line\\nsecond line')", {"raises": "raises:ANY"})
    write_package(tmp_path, "without", "", {"without": "without:MISSING"})
    write_package(tmp_path, "greedy", "PATH = 'theirs'", {"path": "greedy:PATH"})
    write_package(tmp_path, "wrong", "NUMBER = 3", {"wrong": "wrong:NUMBER"})
    (tmp_path / "our_package").mkdir()
    (tmp_path / "our_package/catalogue.py").write_text("PATH = 'ours'")
    monkeypatch.syspath_prepend(tmp_path)
    return Registry("words", "our_package", OWN, refusal)


def write_package(folder: Path, name: str, code: str, entries: dict[str, str]) -> None:
    """A package as an installer leaves it."""
    (folder / f"{name}.py").write_text(code + "\n")
    information = folder / f"{name}-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    lines = ["[ssl_sweep.words]", *(f"{entry} = {value}" for entry, value in entries.items())]
    (information / "entry_points.txt").write_text("\n".join(lines) + "\n")


@pytest.fixture(autouse=True)
def _forget_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("good", "broken", "raises", "without", "greedy", "wrong", "our_package", "our_package.catalogue"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def test_lists_our_own_first_and_leaves_out_what_cannot_be_used(registry: Registry[str]) -> None:
    assert dict(registry) == {"path": "ours", "good": "text", "other": "more text"}
    assert len(registry) == 3
    assert "broken" not in registry and "wrong" not in registry


def test_reports_each_unusable_plugin_once(registry: Registry[str], caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert len(registry) == 3
        assert "broken" not in registry
    assert sorted(record.levelno for record in caplog.records) == [logging.WARNING] * 5
    messages = sorted(record.getMessage() for record in caplog.records)
    expected = {
        "broken": "ModuleNotFoundError: No module named 'a_package_that_nobody_has'",
        "path": "the name is already in use",
        "raises": "RuntimeError: first line\nsecond line",
        "without": "AttributeError: module 'without' has no attribute 'MISSING'",
        "wrong": "it is not text",
    }
    for message, (name, reason) in zip(messages, sorted(expected.items()), strict=True):
        assert message.startswith(f"plug-in '{name}' of package '")
        assert message.endswith(f"is skipped: {reason}")


def test_our_own_names_need_no_plugins(registry: Registry[str], caplog: pytest.LogCaptureFixture) -> None:
    assert registry["path"] == "ours" and "path" in registry
    assert not caplog.records  # not even the one that wants this name was looked at


def test_a_plugin_asked_for_by_name_is_imported_alone(registry: Registry[str]) -> None:
    assert registry["other"] == "more text"
    assert not {"broken", "raises", "without", "wrong", "greedy"} & set(sys.modules)


@pytest.mark.parametrize("name", ["unheard_of", "broken"])
def test_unknown_names_are_key_errors(registry: Registry[str], name: str) -> None:
    with pytest.raises(KeyError, match=name):
        registry[name]


@pytest.mark.parametrize("value", [None, 3, ["path"], {"path": 1}])
def test_what_is_no_text_is_no_name(registry: Registry[str], value: object) -> None:
    assert value not in registry
