"""Files that are no sweeps, or mean harm: the same clear treatment."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ssl_sweep.orchestrator.cli.main import main

GOOD = "name: good\ndataset: digits\nbackbone: resnet18-cifar\nmethods: [simclr]\n"
PROGRAM = Path(sys.executable).with_name("ssl-sweep")


def check(path: Path) -> Result:
    return CliRunner().invoke(main, ["validate", str(path)])


def content(text: str) -> bytes:
    return (GOOD + text).encode()


KEYS = (
    "name, dataset, backbone, methods, recipe, seeds, pretrain, evaluate, grid, search, resources, features, storage, tracking,"
    " published"
)
EMPTY = "1:1: the file is empty; a sweep needs at least `name`, `dataset`, `backbone` and `methods`"
HOSTILE = {
    "empty": (b"", EMPTY),
    "spaces": (b" \n\n", EMPTY),
    "comments": (b"# x\n", EMPTY),
    "null": (b"---\n", EMPTY),
    "latin1": (content("# f\u00fcr\nstorage: ").rstrip() + b" caf\xe9\n", "6:13: the byte 0xE9 is not UTF-8; save the file as UTF-8"),
    "utf16": (GOOD.encode("utf-16"), "1:1: the byte 0xFF is not UTF-8; save the file as UTF-8"),
    "cut_short": (content("# ") + b"\xe2\x82", "5:3: the byte 0xE2 is not UTF-8; save the file as UTF-8"),
    "tab": (content("pretrain:\n\tepochs: 3\n"), "6:1: tabs cannot indent or separate YAML; use spaces"),
    "tab_after_spaces": (content("pretrain:\n  \tepochs: 3\n"), "6:3: tabs cannot indent or separate YAML; use spaces"),
    "tab_after_colon": (content("storage:\truns\n"), "5:9: tabs cannot indent or separate YAML; use spaces"),
    "nul": (content("storage: ru\0ns\n"), "5:12: the character U+0000 is not allowed in YAML"),
    "escape": (content("storage: \x1b[31mruns\n"), "5:10: the character U+001B is not allowed in YAML"),
    "escape_in_quotes": (content('"\\e[31mred": 1\n'), r"5:1: unknown key '\x1b[31mred'" + f" (allowed: {KEYS})"),
    "no_such_character": (content('storage: "\\UFFFFFFFF"\n'), "5:13: not YAML: no such character or number"),
    "half_a_character": (content('storage: "\\ud800"\n'), r"5:10: storage: got '\ud800'; unpaired surrogate: not valid text"),
    "quote_left_open": (b'name: "bad\ndataset: digits\n',
        "3:1: not YAML: found unexpected end of stream (while scanning a quoted scalar that starts in line 1)"),
    "too_large": (content("# x\n" * 50_000), "1:1: the file is too large; a sweep has at most 200,000 bytes"),
    "deep_lists": (content(f"grid: {'[' * 5_000}\n"), "5:56: nested too deeply; at most 50 levels"),
    "deep_mappings": (content(f"grid: {'{a: ' * 5_000}\n"), "5:200: nested too deeply; at most 50 levels"),
    "deep_by_aliases": (
        content("a: &a " + "[" * 30 + "]" * 30 + "\nb: " + "[" * 30 + "*a" + "]" * 30 + "\n"),
        "5:27: nested too deeply; at most 50 levels",
    ),
    "many_values": (content(f"seeds: [{'1, ' * 30_000}]\n"), "5:59988: too many values, with those that aliases stand for: at most 20,000"),
    "yaml_of_the_future": (b"%YAML 3.0\n---\n" + GOOD.encode(),
        "1:1: not YAML: found incompatible YAML document (version 1.* is required)"),
    "long_key": (content(f"{'k' * 500}: 1\n"), f"5:1: unknown key '{'k' * 56}... (allowed: {KEYS})"),
    "percent": (content("storage: %runs\n"),
        "5:10: not YAML: found character '%' that cannot start any token; put text that starts with it in quotes"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_one_clear_error(name: str, tmp_path: Path) -> None:
    data, message = HOSTILE[name]
    path = tmp_path / "sweep.yaml"
    path.write_bytes(data)
    result = check(path)
    assert result.stderr == f"{path}:{message}\n"
    assert result.exit_code == 2
    assert isinstance(result.exception, SystemExit)


def test_missing(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    assert check(path).stderr == f"{path}:1:1: there is no such file\n"


def test_folder(tmp_path: Path) -> None:
    assert check(tmp_path).stderr == f"{tmp_path}:1:1: this is a folder; a sweep is one YAML file\n"


def test_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / "sweep.yaml"
    assert check(path).stderr == f"{path}:1:1: the file cannot be read: Not a directory\n"


def test_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, _mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    path = tmp_path / "sweep.yaml"
    path.write_text(GOOD)
    monkeypatch.setattr(Path, "open", refuse)  # root may read any file
    result = check(path)
    assert result.stderr == f"{path}:1:1: the file cannot be read: Permission denied\n"
    assert result.exit_code == 2


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero")
def test_endless() -> None:
    assert (
        check(Path("/dev/zero")).stderr == "/dev/zero:1:1: the file is too large; a sweep has at most 200,000 bytes\n"
    )


@pytest.mark.parametrize(
    "data", [b"\xef\xbb\xbf" + GOOD.encode(), GOOD.replace("\n", "\r\n").encode()], ids=["bom", "crlf"]
)
def test_what_other_editors_write_is_fine(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(data)
    assert check(path).stdout == f"{path}: valid, 1 trial\n"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_position_behind_a_byte_order_mark(newline: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + f"nam: x{newline}{GOOD}".replace("\n", newline).encode())
    assert check(path).stderr.startswith(f"{path}:1:1: unknown key 'nam'; did you mean 'name'?")


@pytest.mark.parametrize("data", [b"name: 5\n", b"\xff\xfe", b"!!python/object/apply:os.abort []\n"])
def test_as_a_program(data: bytes, tmp_path: Path) -> None:
    """Exit status 2, the message on the standard error, nothing else anywhere."""
    path = tmp_path / "sweep.yaml"
    path.write_bytes(data)
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    done = subprocess.run([PROGRAM, "validate", path], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"{path}:1:1: ")
    assert "Traceback" not in done.stderr
    assert all(line.startswith(f"{path}:1:") or " errors in " in line for line in done.stderr.splitlines())
