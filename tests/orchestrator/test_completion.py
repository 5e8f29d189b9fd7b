"""Completion of names, and errors of the command line as JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from by_hand import TRIAL, SweepByHand
from click.testing import CliRunner
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.sweep.results import write_trials

RUN = """
import sys
from ssl_sweep.orchestrator.cli.main import main
try:
    main(prog_name="ssl-sweep")
finally:
    heavy = {"torch", "torchvision", "timm", "ray", "mlflow", "sklearn", "matplotlib"}
    print("imported:", sorted(heavy & set(sys.modules)), file=sys.stderr)
"""


def completed(words: str, folder: Path) -> list[str]:
    """What bash is offered for the last of these words."""
    variables = {"_SSL_SWEEP_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=os.environ | variables, cwd=folder, capture_output=True, text=True, timeout=60, check=True
    )  # fmt: skip
    assert done.stderr.splitlines()[-1] == "imported: []", done.stderr
    return [line.removeprefix("plain,") for line in done.stdout.splitlines() if line.startswith("plain,")]


def test_names_are_completed_without_anything_heavy(sweep: SweepByHand, tmp_path: Path) -> None:
    write_trials(sweep.spec, [sweep.item], sweep.store)
    assert completed("ssl-sweep va", tmp_path) == ["validate"]
    assert completed("ssl-sweep datasets dig", tmp_path) == ["digits"]
    assert completed("ssl-sweep datasets digits --method barl", tmp_path) == ["barlow_twins"]
    assert completed("ssl-sweep status sm", tmp_path) == ["small"]
    assert completed(f"ssl-sweep status --storage {sweep.store.location} sm", Path("/")) == ["small"]
    assert completed("ssl-sweep logs simclr-", tmp_path) == [TRIAL]
    assert "pretrain.epochs=" in completed("ssl-sweep submit sweep.yaml --set pretrain.ep", tmp_path)
    assert completed("ssl-sweep logs x", Path("/")) == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_printed(shell: str) -> None:
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0 and f"_SSL_SWEEP_COMPLETE={shell}_complete" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["validate", "--nope"], {"where": "--nope", "given": "--nope"}),
        (["validate"], {"where": "SWEEP"}),
        (["export", "x", "--format", "xml"], {"where": "--format"}),
        (["prepare", "digit"], {"given": "digit", "where": None}),
        (["status", "nothing"], {"file": None, "line": None}),
        (["validate", "nothing.yaml"], {"file": "nothing.yaml", "line": 1, "message": "there is no such file"}),
    ],
)
def test_every_error_is_one_object(arguments: list[str], told: dict[str, object]) -> None:
    done = CliRunner().invoke(main, [*arguments, "--json"])
    assert (done.exit_code, done.stderr) == (2, "")
    (error,) = json.loads(done.stdout)["errors"]
    assert list(error) == ["file", "line", "column", "where", "given", "allowed", "message"]
    assert {key: error[key] for key in told} == told
