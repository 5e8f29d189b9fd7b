"""The written files: columns and types, escaping, self-containment, equal files for equal results."""

import csv
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pyarrow.parquet
import pytest
from made_by_hand import evaluation, full_sweep, sweep, trial
from rich.console import Console
from ssl_sweep.orchestrator.report import ReportFiles, terminal_table, write_report
from ssl_sweep.orchestrator.report.tidy import COLUMNS, tidy_table
from ssl_sweep.orchestrator.store.records import SweepResult
from ssl_sweep.orchestrator.store.trial_state import TrialState

NASTY = "<b>x</b> | `$a_b$` [l](u) & *s* \\"


class Page(HTMLParser):
    """Tags left open, ids, addresses that are loaded or linked, and the tags of the SVGs."""

    VOID = frozenset({"meta", "br", "hr", "img", "link", "input"})

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        assert tag != "script" or not dict(attrs).get("src")
        self.tags.append(tag)
        values = dict(attrs)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values[key] or "" for key in ("href", "src", "xlink:href") if key in values]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> ReportFiles:
    return write_report(full_sweep(), tmp_path_factory.mktemp("report"), lambda t: f"../{t.trial_id}/log.txt")


def test_page_is_well_formed_and_loads_nothing(written: ReportFiles) -> None:
    text = written.html.read_text()
    page = Page(text)
    assert not page.open
    assert not {"link", "iframe"} & set(page.tags) and page.tags.count("img") == 1
    loaded = [link for link in page.links if not link.startswith("data:image/png;base64,")]
    assert not [link for link in loaded if "//" in link] and "@import" not in text
    assert not re.findall(r"url\((?!#)", text)
    assert len(page.ids) == len(set(page.ids))  # also between the plots
    referred = set(re.findall(r"url\(#([^)]+)\)", text)) | {link[1:] for link in page.links if link.startswith("#")}
    assert referred <= set(page.ids)
    assert page.tags.count("svg") == 2 + 4 + 3  # two settings with a history, four other plots, three of the search


def test_plots_are_well_formed_described_and_themed(written: ReportFiles) -> None:
    assert [path.name for path in written.plots] == [
        "d1-training.svg", "d1-time.svg", "d1-knn-linear.svg", "d1-memory.svg", "d1-throughput.svg",
        "s1-history.svg", "s1-parallel.svg", "s1-front.svg",
    ]  # fmt: skip
    for path in written.plots:
        root = ElementTree.parse(path).getroot()
        for drawing in root.findall("{*}svg"):
            assert drawing.get("role") == "img" and drawing.findtext("{*}title") and drawing.findtext("{*}desc")
            styles = " ".join(element.get("style", "") for element in drawing.iter())
            assert set(re.findall(r"#[0-9a-f]{6}", styles)) <= {"#ffffff", "#000000"}  # every colour is a variable
    assert "prefers-color-scheme: dark" in written.plots[0].read_text()


def test_markdown_tables_have_equal_rows_and_plots_exist(written: ReportFiles) -> None:
    text = written.markdown.read_text()
    for block in re.findall(r"(?:^\|.*\n)+", text, flags=re.MULTILINE):
        cells = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(cells) == 1
    paths = re.findall(r"!\[[^\n]*\]\(([^)]+)\)", text)
    assert len(paths) == 8 + 1 and all((written.markdown.parent / path).is_file() for path in paths)
    assert "**86.0**" in text and "_random_" in text


def test_tidy_files(written: ReportFiles) -> None:
    table = pyarrow.parquet.read_table(written.parquet)
    assert {field.name: str(field.type) for field in table.schema} == COLUMNS
    assert table.num_rows == 6 + 2 + 1 + 1 + 2 + 3
    failed = next(row for row in table.to_pylist() if row["status"] == "failed")
    assert failed["reason"] == "loss became nan\nat step 3" and failed["evaluation"] is None and failed["top1"] is None
    first = table.to_pylist()[0]
    assert (first["settings"], first["evaluation_workers"], first["top1"]) == (
        '{"k": 200, "temperature": 0.1}',
        2,
        84.0,
    )
    rows = list(csv.DictReader(io.StringIO(written.csv.read_text())))
    assert list(rows[0]) == list(COLUMNS) and len(rows) == table.num_rows


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_cell_is_a_formula(text: str, tmp_path: Path) -> None:
    odd = trial("simclr", -1, evaluation(80.0), status=TrialState.FAILED, reason=text, axes={text: text})
    files = write_report(sweep(odd, name=text), tmp_path)
    with files.csv.open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert (row["reason"], row["sweep"], row["seed"], row["top1"]) == (f"'{text}", f"'{text}", "-1", "80")
    assert [value for value in row.values() if value.startswith(text[0]) and not value.lstrip("-").isdecimal()] == []
    assert pyarrow.parquet.read_table(files.parquet)["reason"].to_pylist() == [text]  # as it is


def test_an_empty_sweep(tmp_path: Path) -> None:
    files = write_report(sweep(), tmp_path)
    assert "No trials." in files.html.read_text() and "No trials." in files.markdown.read_text()
    table = pyarrow.parquet.read_table(files.parquet)
    assert {field.name: str(field.type) for field in table.schema} == COLUMNS and table.num_rows == 0
    assert files.csv.read_text().count("\n") == 1 and files.plots == ()


def test_plots_without_data_are_a_sentence(tmp_path: Path) -> None:
    files = write_report(sweep(trial("simclr", 0, evaluation(80.0), pretrain=None, history=())), tmp_path)
    text = files.html.read_text()
    assert files.plots == () and "<svg" not in text
    for sentence in (
        "no trial has recorded an epoch",
        "both a run time and an accuracy",
        "no trial has both",
        "none was recorded",
    ):
        assert sentence in text and sentence in files.markdown.read_text()


def test_equal_results_give_equal_files_and_stale_plots_go(tmp_path: Path) -> None:
    def contents(folder: Path) -> dict[str, bytes]:
        write_report(full_sweep(), folder)
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    for stale in ("plots/d9-training.svg", "views/d9-1.png"):
        (tmp_path / "b" / stale).parent.mkdir(parents=True)
        (tmp_path / "b" / stale).touch()
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def nasty_sweep() -> SweepResult:
    return sweep(
        trial("simclr", 0, evaluation(80.0), title=NASTY, environment={NASTY: NASTY}),
        trial("byol", 0, status="failed", reason=NASTY, log=NASTY, trial_id=NASTY, history=(), pretrain=None),
        name=NASTY,
        command=f"```\n{NASTY}",
    )


def test_names_and_reasons_are_no_markup(tmp_path: Path) -> None:
    files = write_report(nasty_sweep(), tmp_path, lambda _: 'a b(c)|"d.txt')
    text = files.html.read_text()
    page = Page(text)
    assert not page.open and "<b>x</b>" not in text and "a b(c)|&#34;d.txt" in text
    markdown = files.markdown.read_text()
    prose = markdown.replace(re.search(r"````sh\n.*?\n````", markdown, re.DOTALL)[0], "")  # pyright: ignore
    assert not re.search(r"(?<!\\)<|(?<!\\)`", prose) and '](a%20b%28c%29%7C"d.txt)' in prose
    for block in re.findall(r"(?:^\|.*\n)+", markdown, flags=re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line.replace("\\\\", ""))) for line in block.splitlines()}) == 1
    assert tidy_table(nasty_sweep()).to_pylist()[1]["reason"] == NASTY


def test_terminal_table_takes_names_literally() -> None:
    console = Console(width=200, file=io.StringIO(), record=True)
    console.print(terminal_table(sweep(trial("simclr", 0, evaluation(80.0), title="[red]x[/nope]"))))
    text = console.export_text()
    assert "[red]x[/nope]" in text and "knn/lightly@1" in text and "backbone resnet18-cifar" in text


@pytest.mark.parametrize(("width", "dropped"), [(200, ""), (80, "top-5"), (60, "best epoch, top-5")])
def test_terminal_table_drops_columns_and_cuts_none(width: int, dropped: str) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(terminal_table(full_sweep()))
    text = console.export_text()
    assert "…" not in text and all(len(line) <= width for line in text.splitlines())
    row = next(line for line in text.splitlines() if line.startswith("SimCLR"))
    assert "85.0 ± 1.0" in row and "89.0 ± 1.0" in row and ("1.5 GB" in row)
    assert (f"see the report: {dropped}." in " ".join(text.split())) == bool(dropped)


def test_importing_the_report_draws_nothing_in() -> None:
    heavy = {"matplotlib", "rich", "scipy", "torch", "ray"}
    code = f"import sys, ssl_sweep.orchestrator.report; print(sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
