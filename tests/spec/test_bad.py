"""Bad sweeps: each file in ``bad/`` ends with the errors that it must give, all of them, as ``#! line:column: message``."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from ssl_sweep.orchestrator.cli.main import main

BAD = sorted((Path(__file__).parent / "bad").glob("*.yaml"))


def expected(path: Path) -> list[str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("#! ") for line in lines if line.startswith("#! ")]


def place(error: str) -> tuple[int, int]:
    line, column, _ = error.split(":", 2)
    return int(line), int(column)


def test_there_are_enough_of_them() -> None:
    assert len(BAD) >= 45


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_every_error_with_its_place(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    errors = expected(path)
    assert errors, "the file does not say what is wrong with it"
    assert [place(error) for error in errors] == sorted(place(error) for error in errors)

    result = CliRunner().invoke(main, ["validate", path.name])

    lines = [f"{path.name}:{error}" for error in errors]
    if len(errors) > 1:
        lines.append(f"{len(errors)} errors in {path.name}")
    assert result.stderr.splitlines() == lines
    assert result.stdout == ""
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)


def test_six_independent_errors_come_at_once() -> None:
    """Of one value, of a name, of two keys that do not suit each other: in one go, sorted by their place."""
    assert len(expected(BAD[0].with_name("six_errors.yaml"))) == 6


def test_json() -> None:
    path = BAD[0].with_name("seeds_twice.yaml")
    result = CliRunner().invoke(main, ["validate", str(path), "--json"])
    message = "seeds[2]: duplicate value 0; list each value once"
    told = {"where": "seeds[2]", "given": None, "allowed": None, "message": message}
    assert json.loads(result.stdout) == {"errors": [{"file": str(path), "line": 5, "column": 15, **told}]}
    assert result.exit_code == 2


@pytest.mark.parametrize("command", ["plan", "submit", "status", "report"])
def test_every_command_says_the_same(command: str) -> None:
    path = BAD[0].with_name("seeds_twice.yaml")
    result = CliRunner().invoke(main, [command, str(path)])
    assert result.stderr == f"{path}:5:15: seeds[2]: duplicate value 0; list each value once\n"
    assert result.exit_code == 2
