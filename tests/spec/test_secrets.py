"""Passwords in addresses: not in a store's, and of MLflow's shown, logged and kept nowhere."""

from pathlib import Path

import pytest
from ssl_sweep.orchestrator.spec.errors import SpecError
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.secrets import has_credentials, without_passwords
from ssl_sweep.orchestrator.store.files import Store, StoreError

HEAD = "name: good\nbackbone: resnet18-cifar\nmethods: [random]\n"


def load(text: str, folder: Path) -> str | None:
    path = folder / "sweep.yaml"
    path.write_text(f"{HEAD}{text}\n")
    return load_spec(path)[0].tracking


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:hunter2@host:5000/x", "https://me:***@host:5000/x"),
        ("postgresql+psycopg://me:p%40:ss@host/db", "postgresql+psycopg://me:***@host/db"),
        ("mysql://me:p@ss@host/db", "mysql://me:***@host/db"),
        ("https://:token@host", "https://:***@host"),
        ("API request to https://me:hunter2@host/api failed: 'https://a:b@c'", "API request to https://me:***@host/api failed: 'https://a:***@c'"),
        ("https://me@host:5000", "https://me@host:5000"),
        ("https://host:5000/a@b", "https://host:5000/a@b"),
        ("sqlite:////data/a:b@c/mlflow.db", "sqlite:////data/a:b@c/mlflow.db"),
        ("mail me: a@b.c", "mail me: a@b.c"),
    ],
)  # fmt: skip
def test_addresses_are_shown_without_passwords(text: str, shown: str) -> None:
    assert without_passwords(text) == shown


@pytest.mark.parametrize(
    ("location", "holds"),
    [
        ("s3://bucket/runs", False),
        ("s3://key:secret@bucket/runs", True),
        ("gs://key@bucket/runs", True),
        ("abfss://container@account.dfs.core.windows.net/runs", False),
        ("abfss://container:key@account.dfs.core.windows.net/runs", True),
        ("s3://bucket/a@b/runs", False),
        ("/home/me:you@there/runs", False),
    ],
)
def test_what_holds_credentials(location: str, holds: bool) -> None:
    assert has_credentials(location) is holds


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("dataset: digits\nstorage: s3://key:hunter2@bucket/runs", "5:10: storage"),
        ("dataset: digits\nstorage: s3://$KEY:$SECRET@bucket/runs", "5:10: storage"),
        ("dataset: s3://key:hunter2@bucket/images", "4:10: dataset"),
        ("dataset: {name: folder, path: 's3://key:hunter2@bucket/images'}", "4:31: dataset.path"),
        ("dataset: digits\ngrid: {dataset: [digits, s3://key:hunter2@bucket/images]}", "5:26: grid.dataset[1]"),
    ],
)
def test_credentials_belong_into_the_environment(
    text: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEY", "key")
    monkeypatch.setenv("SECRET", "hunter2")
    with pytest.raises(SpecError) as error:
        load(text, tmp_path)
    (line,) = str(error.value).splitlines()
    assert line.endswith(f"{place}: holds credentials; set them in the environment, as AWS_ACCESS_KEY_ID and"
                         " AWS_SECRET_ACCESS_KEY, and leave them out here")  # fmt: skip
    assert "hunter2" not in line


def test_a_store_named_on_the_command_line_neither_holds_them() -> None:
    for location in ("s3://key:hunter2@bucket/runs", "s3://bucket/runs?secret_access_key=hunter2"):
        with pytest.raises(StoreError) as error:
            Store(location)
        assert "environment" in str(error.value)
        assert "hunter2" not in str(error.value)


def test_mlflow_s_password_comes_from_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpecError) as error:
        load("dataset: digits\ntracking: postgresql://me:hunter2@host/mlflow", tmp_path)
    assert "5:11: tracking: holds a password; name a variable instead" in str(error.value)
    assert "hunter2" not in str(error.value)
    named = "dataset: digits\ntracking: postgresql://me:${DB_PASSWORD}@host/mlflow"
    with pytest.raises(SpecError, match="tracking: the environment variable 'DB_PASSWORD' is not set"):
        load(named, tmp_path)
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    assert load(named, tmp_path) == "postgresql://me:hunter2@host/mlflow"
