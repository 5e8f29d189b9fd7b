"""`--set`: values of a sweep file overridden on the command line, as if the file had them."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from ssl_sweep.orchestrator.cli.main import main
from ssl_sweep.orchestrator.spec.errors import SpecError
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.overrides import options_of
from ssl_sweep.orchestrator.spec.yaml_document import parse_document
from ssl_sweep.orchestrator.spec.yaml_text import as_yaml

FILE = """
name: small      # a comment
dataset: digits
backbone: resnet18-cifar
methods: [random, simclr, {name: byol, momentum: 0.9}]
pretrain: {epochs: 2}
grid:
  pretrain.batch_size: [32, 64]
evaluate: [knn, {name: linear, as: probe}]
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "sweep.yaml"
    file.write_text(FILE)
    return file


def data(path: Path, *overrides: str) -> dict[str, object]:
    return parse_document(load_spec(path, overrides)[1].text, "text").data


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("pretrain.epochs=10", "pretrain", {"epochs": 10}),
        ("pretrain.optimizer.lr=1e-3", "pretrain", {"epochs": 2, "optimizer": {"lr": 1e-3}}),
        ("seeds=[1, 2]", "seeds", (1, 2)),
        ("dataset.image_size=16", "dataset", {"name": "digits", "image_size": 16}),
        ("backbone.options={in_chans: 3}", "backbone", {"name": "resnet18-cifar", "options": {"in_chans": 3}}),
        ("methods[1].temperature=0.2", "methods", ("random", {"name": "simclr", "temperature": 0.2}, {"name": "byol", "momentum": 0.9})),
        ("methods.byol.momentum=0.5", "methods", ("random", "simclr", {"name": "byol", "momentum": 0.5})),
        ("methods[0]=moco", "methods", ("moco", "simclr", {"name": "byol", "momentum": 0.9})),
        ("evaluate.probe.epochs=3", "evaluate", ("knn", {"name": "linear", "as": "probe", "epochs": 3})),
        ("grid.pretrain.batch_size=[8]", "grid", {"pretrain.batch_size": (8,)}),
        ("grid.pretrain.batch_size[1]=8", "grid", {"pretrain.batch_size": (32, 8)}),
        ("grid.pretrain.epochs=[1, 3]", "grid", {"pretrain.batch_size": (32, 64), "pretrain.epochs": (1, 3)}),
        ("storage='1e-3'", "storage", "1e-3"),
    ],
)  # fmt: skip
def test_a_value_takes_the_place_of_the_files(path: Path, override: str, key: str, value: object) -> None:
    before = data(path)
    assert data(path, override) == {**before, key: value}
    assert path.read_text() == FILE


def test_the_text_without_overrides_is_the_files(path: Path) -> None:
    assert load_spec(path)[1].text == FILE


def test_the_trials_are_those_of_an_edited_file(path: Path, tmp_path: Path) -> None:
    overrides = ["pretrain.epochs=7", "methods.simclr.temperature=0.3"]
    spec, document = load_spec(path, overrides)
    edited = tmp_path / "edited.yaml"
    edited.write_text(document.text)
    assert expand(spec, document) == expand(*load_spec(edited))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("pretrain.epochs=ten", "pretrain.epochs: got 'ten'; must be a whole number"),
        ("pretrain.epoch=10", "pretrain: unknown key 'epoch'; did you mean 'epochs'? (allowed: epochs,"),
        ("methods.byl.momentum=1", "methods: got 'byl'; did you mean 'byol'?; must be an entry of the list (0: random, 1:"),
        ("methods[3].momentum=1", "methods: got 3; must be an entry of the list (0: random, 1: simclr, 2: byol)"),
        ("methods[1].temperature=-1", "methods[1].temperature: got -1; must be greater than 0"),
        ("name.x=1", "name: has the value 'small' in the sweep file, which has no keys"),
        ("pretrain", "got 'pretrain'; must be KEY=VALUE, as in pretrain.epochs=10 or methods[0].temperature=0.2"),
        ("pretrain..epochs=1", "got 'pretrain..epochs=1'; must be KEY=VALUE"),
        ("seeds=[1", "seeds: not YAML: "),
        ("seeds=[1, 1]", "seeds[1]: duplicate value 1; list each value once"),
    ],
)  # fmt: skip
def test_an_error_names_the_option_the_key_and_what_is_allowed(path: Path, override: str, message: str) -> None:
    with pytest.raises(SpecError) as error:
        spec, document = load_spec(path, [override])
        expand(spec, document)
    assert str(error.value).startswith(f"--set {override}: {message}")


def test_errors_of_the_file_keep_their_lines(path: Path) -> None:
    path.write_text(FILE.replace("digits", "digit"))
    with pytest.raises(SpecError) as error:
        load_spec(path, ["pretrain.epochs=0"])
    first, second, last = str(error.value).splitlines()
    assert first.startswith("--set pretrain.epochs=0: pretrain.epochs: got 0")
    assert second.startswith(f"{path}:3:10: dataset: got 'digit'")
    assert last == f"2 errors in --set pretrain.epochs=0 and {path}"


def test_the_last_of_two_counts(path: Path) -> None:
    assert data(path, "pretrain.epochs=3", "pretrain.epochs=4")["pretrain"] == {"epochs": 4}


@pytest.mark.parametrize(
    "command", ["validate", "plan", "submit", "resume", "status", "stop", "report", "export", "rm"]
)
def test_every_command_that_reads_a_sweep_file_takes_it(command: str, path: Path) -> None:
    done = CliRunner().invoke(main, [command, str(path), *options_of(["pretrain.epochs=-1"]), "--json"])
    assert done.exit_code == 2
    (error,) = json.loads(done.stdout)["errors"]
    assert (error["file"], error["line"], error["where"]) == ("--set pretrain.epochs=-1", None, "pretrain.epochs")
    assert (error["given"], error["allowed"]) == ("-1", "must be greater than 0")


def test_a_name_has_no_values_to_override(tmp_path: Path) -> None:
    for command in ("status", "stop", "rm"):
        done = CliRunner().invoke(main, [command, "small", "--storage", str(tmp_path), "--set", "pretrain.epochs=1"])
        assert done.exit_code == 2
        assert (
            done.stderr
            == "error: --set pretrain.epochs=1: 'small' is no file; only values of a sweep file can be overridden\n"
        )


@pytest.mark.parametrize("value", ["1e-3", "no", "null", "0x1f", "a: b", "- c", "é ü", "", "true", ".5", "#x", "~"])
def test_written_text_is_read_as_it_was(value: str) -> None:
    written = as_yaml({"a": (value, {"b": value}), "n": (1e-3, 1e20, True, None, 3)})
    assert parse_document(written, "text").data == {"a": (value, {"b": value}), "n": (1e-3, 1e20, True, None, 3)}
