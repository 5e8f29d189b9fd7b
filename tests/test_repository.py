"""What is in the open beside the code: the version in one place, workflows, images, the schema for editors."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from ssl_sweep.orchestrator.spec.schema import sweep_schema

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
YAML = [
    *ROOT.glob(".github/**/*.yml"),
    ROOT / ".pre-commit-config.yaml",
    ROOT / "CITATION.cff",
]
DOCKERFILES = [*ROOT.glob("docker/*"), ROOT / "docs/clusters/Dockerfile"]


def test_the_change_log_and_the_citation_have_the_version() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert headings.index(released[0]) <= 1, "Unreleased is the newest"
    assert released[0] == PROJECT["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == PROJECT["version"]


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_files_for_others_are_yaml(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text()), dict)


def test_workflows_run_what_is_there() -> None:
    for path in ROOT.glob(".github/workflows/*.yml"):
        text = path.read_text()
        assert [name for name in re.findall(r"tests/\w+\.py", text) if not (ROOT / name).exists()] == []
        targets = re.findall(r"run: make (\S+)", text)
        assert [name for name in targets if f"\n{name}:" not in (ROOT / "Makefile").read_text()] == []


def test_no_package_index_but_public_ones_is_named() -> None:
    public = {"https://download.pytorch.org/whl/cpu"}
    for path in (*YAML, *DOCKERFILES, ROOT / "Makefile"):
        assert set(re.findall(r"index-url[= ]+(\S+)", path.read_text())) <= public, path


def test_images_have_the_versions_of_the_package() -> None:
    for path in DOCKERFILES:
        for name, version in re.findall(r'"(torch|torchvision)([^"]+)"', path.read_text()):
            assert f"{name}{version}" in PROJECT["dependencies"], path


def test_the_schema_for_editors_is_up_to_date() -> None:
    found = json.loads((ROOT / "docs/sweep.schema.json").read_text())
    assert found == json.loads(json.dumps(sweep_schema())), "ssl-sweep schema > docs/sweep.schema.json"
