"""What comes from outside: names that are no paths, files that run nothing, passwords that go nowhere."""

import ast
import io
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from by_hand import SweepByHand
from click.testing import CliRunner
from ssl_sweep.datasets.cifar10_source import cifar10_batches
from ssl_sweep.datasets.errors import DataError
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.spec.identity import evaluation_id, trial_id
from ssl_sweep.orchestrator.store.trial_state import TrialState
from ssl_sweep.orchestrator.trial.checkpoint import Saved

SweepFile = Callable[..., Path]
ROOT = Path(__file__).parents[2]
SOURCES = [path for top in ("orchestrator", "methods", "datasets", "evaluation") for path in (ROOT / top).rglob("*.py")]
RUNS_CODE = {
    "pickle.load",
    "pickle.loads",
    "cloudpickle.loads",
    "joblib.load",
    "yaml.load",
    "yaml.unsafe_load",
    "eval",
    "exec",
}
NAMES = ["..", ".", "../x", "a/b", "/etc", "a\0b", "a\nb", "-rf", "a" * 65, "", "ü", "a b"]


class Evil:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.path,)


# -- names --


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", ["name", "dataset", "methods", "evaluate"])
def test_a_name_is_no_path(key: str, name: str, sweep_file: SweepFile, tmp_path: Path) -> None:
    value: object = {"name": name, "dataset": {"name": name}, "methods": [name], "evaluate": [name]}[key]
    result = CliRunner().invoke(main, ["plan", str(sweep_file(**{key: value}))])
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit)
    assert [entry.name for entry in tmp_path.iterdir()] == ["sweep.yaml"]


def test_ids_are_single_names_whatever_the_trial_s_parts_are(sweep: SweepByHand) -> None:
    trial = sweep.item.trial
    odd = trial.model_copy(update={"backbone": trial.backbone.model_copy(update={"name": "hf-hub:../../a\0b/c"})})
    assert set("/\\\0. ") & set(trial_id(odd, "../..")) == set()
    config = trial.evaluate[0].model_copy(update={"protocol": "../../x@1"})
    assert "/" not in evaluation_id(config)


@pytest.mark.parametrize("place", ["storage", "dataset"])
def test_a_place_with_a_null_character_is_one_line(place: str, sweep_file: SweepFile) -> None:
    value: object = "/data/a\0b" if place == "storage" else {"name": "folder", "path": "/data/a\0b"}
    result = CliRunner().invoke(main, ["plan", str(sweep_file(**{place: value}))])
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit), result.exception


# -- files --


def test_nothing_in_the_sources_loads_what_can_run_code() -> None:
    found: list[str] = []
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                bad = name in RUNS_CODE or (name == "torch.load" and options.get("weights_only") != "True")
                bad |= options.get("allow_pickle") == "True"
                found += [f"{path.name}:{node.lineno}: {name}"] if bad else []
    assert found == []


def test_a_checkpoint_runs_nothing(tmp_path: Path) -> None:
    content = io.BytesIO()
    torch.save({"step": Evil(tmp_path / "ran")}, content)
    with pytest.raises(pickle.UnpicklingError):
        Saved(content.getvalue(), torch.device("cpu"))
    assert not (tmp_path / "ran").exists()


def test_a_data_set_runs_nothing(tmp_path: Path) -> None:
    for i in range(1, 6):
        (tmp_path / f"data_batch_{i}").write_bytes(pickle.dumps({b"data": Evil(tmp_path / "ran")}, protocol=2))
    with pytest.raises(DataError, match="is not allowed"):
        cifar10_batches(tmp_path)
    assert not (tmp_path / "ran").exists()


# -- passwords --


def test_mlflow_s_password_is_neither_logged_nor_kept(sweep: SweepByHand, caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    sweep.run()
    for state in (TrialState.FINISHED, TrialState.FINISHED):
        following = sweep.tracker(f"http://me:hunter2@127.0.0.1:{port}")
        sweep.follow(following, sweep.folder.events())
        assert not following.close(state)
    assert f"MLflow at http://me:***@127.0.0.1:{port}" in caplog.text
    assert "hunter2" not in caplog.text
    kept = [
        path for path in Path(sweep.store.location).rglob("*") if path.is_file() and b"hunter2" in path.read_bytes()
    ]
    assert kept == []
