"""What README and methods.md call proven is what files and tests say."""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

verdicts: Any = importlib.import_module("verdicts")


def test_readme_and_methods_are_as_the_script_writes_them() -> None:
    readme, methods = ROOT / "README.md", ROOT / "docs" / "methods.md"
    assert readme.read_text() == verdicts.with_column(readme.read_text())
    assert methods.read_text() == verdicts.with_section(methods.read_text())


def test_every_claim_names_a_file_or_a_test() -> None:
    for name, own in verdicts.verdicts().items():
        for verdict in own:
            files = re.findall(r"\]\((\.\./\S+?)\)", verdict.text)
            tests = re.findall(r"`(tests/\S+?)::(\w+)\[", verdict.text)
            assert files or tests, (name, verdict)
            assert all((ROOT / "docs" / file).exists() for file in files)
            assert all(f"def {function}(" in (ROOT / path).read_text() for path, function in tests)


def test_a_claim_goes_with_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "RACE", ROOT / "absent.md")
    monkeypatch.setattr(verdicts, "H100", ROOT / "absent.md")
    assert not any("kNN" in item.short or "row" in item.short for own in verdicts.verdicts().values() for item in own)


def test_what_is_known_of_simclr() -> None:
    assert [item.short for item in verdicts.verdicts()["simclr"]] == ["loss", "step", "kNN behind", "", "row missed"]
