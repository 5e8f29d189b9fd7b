"""The page of all commands is what the command line says."""

import importlib
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "docs"))

commands: Any = importlib.import_module("commands")


def test_the_page_is_as_the_script_writes_it() -> None:
    assert (ROOT / "docs" / "commands.md").read_text() == commands.page(), "run: python docs/commands.py"
