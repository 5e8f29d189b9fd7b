"""The sweeps that repeat published tables: they load, say what to expect, and have the published settings or a reason."""

import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
KIT = sorted((ROOT / "sweeps" / "reproduce").glob("*.yaml"))
sys.path.insert(0, str(ROOT / "docs"))

settings_table: Any = importlib.import_module("settings_table")


@pytest.fixture(scope="module")
def sections() -> list[Any]:
    return settings_table.sections()  # resolves every file


@pytest.mark.parametrize("path", KIT, ids=lambda path: path.stem)
def test_a_file_says_how_to_run_it_and_what_to_expect(path: Path) -> None:
    comment = "".join(line for line in path.read_text().splitlines(keepends=True) if line.startswith("#"))
    assert f"ssl-sweep submit sweeps/reproduce/{path.name}\n" in comment
    assert "# Hours: " in comment and "# Expect" in comment


def test_every_file_is_compared(sections: list[Any]) -> None:
    assert sorted(section.file for section in sections) == sorted(path.stem for path in KIT)


def test_what_differs_has_a_reason(sections: list[Any]) -> None:
    lines = [line for section in sections for line in section.lines]
    assert [line for line in lines if not line.equal and not line.reason] == []


def test_the_document_is_the_script_s(sections: list[Any]) -> None:
    assert settings_table.document(sections) == settings_table.DOCUMENT.read_text()
