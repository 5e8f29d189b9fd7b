"""The files of docs/clusters: they parse, name one version of Ray, and run commands that there are."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "clusters"


def documents(name: str) -> list[dict[str, object]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def test_one_version_of_ray_that_we_allow() -> None:
    text = "".join(path.read_text() for path in sorted(FOLDER.iterdir()))
    (found,) = set(re.findall(r"(?:rayVersion: \"|rayproject/ray:|ray\[default\]==)(\d+\.\d+\.\d+)", text))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (ray,) = [needed for needed in project["dependencies"] if needed.startswith("ray[")]
    lowest = re.findall(r">=([\d.]+)", ray)[0]
    assert tuple(map(int, found.split("."))) >= tuple(map(int, lowest.split(".")))


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_manifests_ask_for_a_token(name: str) -> None:
    kind = documents(name)[-1]
    spec = kind["spec"]
    assert isinstance(spec, dict)
    assert spec.get("rayClusterSpec", spec)["authOptions"] == {"mode": "token"}


def test_the_job_s_sweep_is_valid(tmp_path: Path) -> None:
    (sweep,) = documents("rayjob.yaml")[0]["data"].values()  # type: ignore[attr-defined]
    path = tmp_path / "sweep.yaml"
    path.write_text(sweep)
    spec, document = load_spec(path)
    assert len(expand(spec, document)) == 2
    assert spec.tracking is not None


def test_the_script_for_slurm_parses() -> None:
    assert subprocess.run(["bash", "-n", str(FOLDER / "slurm.sbatch")], check=False).returncode == 0
