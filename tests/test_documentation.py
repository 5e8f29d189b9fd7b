"""What the documents promise: links that resolve, sweeps that load, no word of one machine."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from ssl_sweep.datasets import DATASETS
from ssl_sweep.methods import METHODS
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.cli.method_table import markdown_table
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_resolve(path: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", path.read_text())
    local = [link for link in links if "://" not in link]
    assert [link for link in local if not (path.parent / link).exists()] == []


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_sweeps_load_and_say_how_to_run_them(path: Path, tmp_path: Path) -> None:
    text = path.read_text()
    assert text.startswith("# ")
    assert f"ssl-sweep submit sweeps/{path.name}" in text
    assert expand(*load_spec(path))


def test_the_readme_s_sweep_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), flags=re.DOTALL)
    path = tmp_path / "sweep.yaml"
    path.write_text(example)
    assert len(expand(*load_spec(path))) == 3


def test_the_sketch_of_the_sweep_file_is_valid(tmp_path: Path) -> None:
    example = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/sweep.md").read_text(), flags=re.DOTALL)[0]
    path = tmp_path / "sweep.yaml"
    path.write_text(example)
    assert expand(*load_spec(path))


def test_the_tutorial_s_sweep_is_valid(tmp_path: Path) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/tutorial.md").read_text(), flags=re.DOTALL)
    path = tmp_path / "sweep.yaml"
    path.write_text(example)
    assert len(expand(*load_spec(path))) == 12


def test_the_site_has_every_page_once() -> None:
    sections = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    values = [value for section in sections for value in section.values()]
    pages = [page for value in values for page in ([value] if isinstance(value, str) else _pages(value))]
    assert sorted(pages) == sorted(path.name for path in ROOT.glob("docs/*.md"))


def _pages(section: list[dict[str, str]]) -> list[str]:
    return [page for entry in section for page in entry.values()]


def test_the_readme_lists_what_there_is() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in METHODS if f"| `{name}` |" not in text] == []
    assert [name for name in main.commands if f"ssl-sweep {name}" not in text] == []
    assert set(DATASETS) >= {"digits", "cifar10", "imagenette", "folder", "parquet"}


def test_the_table_of_methods_is_the_code_s() -> None:
    assert markdown_table() in (ROOT / "docs/methods.md").read_text()


def test_the_packages_are_the_folders() -> None:
    setup = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {
        f"ssl_sweep.{path.parent.relative_to(ROOT).as_posix().replace('/', '.')}"
        for top in ("orchestrator", "methods", "datasets", "evaluation")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert set(setup["packages"]) == folders | {
        "ssl_sweep",
        "ssl_sweep.sweeps",
        "ssl_sweep.sweeps.recipes",
        "ssl_sweep.sweeps.reproduce",
    }


def test_files_stay_short() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    sources = [ROOT / name for name in listed.split() if not name.startswith(("tests/", "benchmarks/"))]
    assert [path.name for path in sources if len(path.read_text().splitlines()) > 310] == []
