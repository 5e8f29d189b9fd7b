"""What is proven of each method, from the results under `benchmarks/results` and the tests: a column of README and methods.md.

    python docs/verdicts.py

rewrites the column `proven` of README's table of methods and the section “Proven” of `docs/methods.md`. A claim is made only of
what a file or a test of that name says.
"""

import ast
import re
from pathlib import Path
from typing import NamedTuple

from ssl_sweep.methods import METHODS

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PEERS = ROOT / "tests" / "methods" / "test_lightly.py"
RACE = RESULTS / "against-lightly.md"
BUDGET = RESULTS / "cifar10-methods.md"
H100 = RESULTS / "h100-simclr.md"

START, END = "<!-- proven: made by docs/verdicts.py -->", "<!-- end -->"


class Verdict(NamedTuple):
    short: str
    """For README."""
    text: str
    """With the file or test that says so."""


def verdicts() -> dict[str, list[Verdict]]:
    """By method, from the strongest claim of a loss to that of a published row."""
    losses, race, budget = _losses(), _race(), _budget()
    found: dict[str, list[Verdict]] = {}
    for name in METHODS:
        own: list[Verdict] = []
        names = [loss for loss in losses if loss == name or loss.startswith(f"{name}_")]
        if names:
            own.append(Verdict("loss", f"loss and gradient equal Lightly's ({_test('test_one_rank', names)})"))
        if name == "simclr" and (step := _lockstep()):
            own.append(Verdict("step", step))
        if name in race:
            own.append(Verdict(f"kNN {race[name][0]}", race[name][1]))
        if name in budget:
            own.append(Verdict("", budget[name]))
        if name == "simclr" and (row := _published()):
            own.append(row)
        found[name] = own
    return found


def _losses() -> list[str]:
    """The functions in the tuple `FUNCTIONS` of the tests against Lightly: a loss each."""
    for node in ast.walk(ast.parse(PEERS.read_text())):
        if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple):
            continue
        if any(isinstance(target, ast.Name) and target.id == "FUNCTIONS" for target in node.targets):
            return [item.id for item in node.value.elts if isinstance(item, ast.Name)]
    return []


def _test(function: str, names: list[str]) -> str:
    return f"`tests/methods/{PEERS.name}::{function}[{', '.join(names)}]`"


def _rows(path: Path) -> list[list[str]]:
    """The cells of every table row of a file; none if the file is not there."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]


def _race() -> dict[str, tuple[str, str]]:
    """The verdict of the last table that has a method: the one with the most seeds."""
    found: dict[str, tuple[str, str]] = {}
    for row in _rows(RACE):
        if row[0] in METHODS and len(row) > 6 and row[6] in ("ahead", "level", "behind"):
            text = f"kNN after 8 epochs {row[6]}: {row[4]} beside Lightly's modules, {row[1]} seeds ({_link(RACE)})"
            found[row[0]] = (row[6], text)
    return found


def _budget() -> dict[str, str]:
    """How much a method learns at a small budget: linear top-1 over the random backbone's."""
    return {
        row[0]: f"linear {row[4]} over the untrained backbone after 8 epochs, one seed ({_link(BUDGET)})"
        for row in _rows(BUDGET)
        if row[0] in METHODS and len(row) > 4 and re.fullmatch(r"[+-]\d+\.\d", row[4])
    }


def _lockstep() -> str | None:
    match = (
        re.search(r"Over all (\d+) steps the largest relative difference of a", RACE.read_text())
        if RACE.exists()
        else None
    )
    return match and f"each of {match[1]} steps equals that of Lightly's module, but for rounding ({_link(RACE)})"


def _published() -> Verdict | None:
    for row in _rows(H100):
        if row[0] == "kNN top-1, best epoch":
            ours, theirs = float(row[1]), float(row[2])
            reached = "reproduced" if ours > theirs - 0.5 else "missed"
            text = f"published CIFAR-10 row {reached}: {ours} instead of {theirs}, one seed, not the published settings ({_link(H100)})"
            return Verdict(f"row {reached}", text)
    return None


def _link(path: Path) -> str:
    return f"[{path.stem}](../benchmarks/results/{path.name})"


def section() -> str:
    """The section of methods.md."""
    lines = [
        f"| `{name}` | {'; '.join(verdict.text for verdict in own) or 'nothing yet'} |"
        for name, own in verdicts().items()
    ]
    return "\n".join([START, "| method | proven |", "| --- | --- |", *lines, END])


def with_column(readme: str) -> str:
    """README with the column `proven`, as it should be."""
    found = verdicts()
    lines: list[str] = []
    inside = False
    for line in readme.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        inside = line.startswith("| method | family") or (inside and line.startswith("|"))
        if inside:
            cells = cells[:4]
            name = cells[0].strip("`")
            short = ", ".join(verdict.short for verdict in found.get(name, []) if verdict.short) or "–"
            extra = {"method": "proven", "---": "---"}.get(name, short)
            line = f"| {' | '.join([*cells, extra])} |"
        lines.append(line)
    return "\n".join(lines) + "\n"


def with_section(methods: str) -> str:
    before, _, rest = methods.partition(START)
    return before + section() + rest.partition(END)[2]


if __name__ == "__main__":
    for path, renewed in ((ROOT / "README.md", with_column), (ROOT / "docs" / "methods.md", with_section)):
        path.write_text(renewed(path.read_text()))
