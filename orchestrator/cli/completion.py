"""Shell completion: names of methods, data sets, sweeps and trials, and keys of a sweep file. Free of torch, Ray and MLflow."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from ..spec.errors import UserError

VARIABLE = "_SSL_SWEEP_COMPLETE"
SHELLS = ("bash", "zsh", "fish")
Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that makes a shell complete commands, options and names.

    Names are those of methods, data sets, and of the sweeps and trials of the store (`--storage` first, if it is not `runs`).

    \b
    Examples:
      eval "$(ssl-sweep completion bash)"            in ~/.bashrc
      eval "$(ssl-sweep completion zsh)"             in ~/.zshrc
      ssl-sweep completion fish > ~/.config/fish/completions/ssl-sweep.fish
    """
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(click.get_current_context().find_root().command, {}, "ssl-sweep", VARIABLE).source())


def _completes(items: Callable[[dict[str, Any]], Iterable[tuple[str, str]]], *, files: bool = False) -> Complete:
    """A completion by (value, help) pairs, which `items` has for the options that are given already.

    Without a match of these, `files` are completed. What cannot be read completes to nothing.
    """

    def complete(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(incomplete, type="file")] if files else []
        with contextlib.suppress(UserError, OSError, ValueError):
            found += [
                CompletionItem(value, help=text)
                for value, text in items(context.params)
                if value.startswith(incomplete)
            ]
        return found

    return complete


def _methods(_given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from ...methods import METHODS

    yield from ((name, config.title) for name, config in METHODS.items())


def _datasets(_given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from ...datasets import DATASETS

    yield from ((name, dataset.description) for name, dataset in DATASETS.items())


def _sweeps(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    from ..store.files import Store

    yield from ((name, "sweep") for name in Store(given.get("storage") or "runs").names("sweeps"))


def _trials(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """By their ids: labels have spaces."""
    from ..store.files import Store
    from ..store.trial_names import trial_names
    from ..sweep.place import locate

    sweep = given.get("sweep")
    store = Store(given.get("storage") or "runs") if sweep is None else locate(str(sweep), "runs").store
    yield from trial_names(store)


def _keys(given: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys of the sweep file as it is, then those that every sweep may have."""
    from ...methods.config import PretrainConfig
    from ..spec.errors import dotted
    from ..spec.models import SweepSpec
    from ..spec.yaml_document import read_document

    yield from ((f"pretrain.{name}=", "") for name in PretrainConfig.model_fields)
    yield from ((f"{name}=", "") for name in SweepSpec.model_fields)
    sweep = given.get("sweep")
    if sweep is not None and Path(sweep).is_file():
        yield from ((f"{dotted(path)}=", "in the sweep file") for path in read_document(Path(sweep)).values if path)


complete_method = _completes(_methods)
complete_dataset = _completes(_datasets, files=True)
complete_sweep = _completes(_sweeps, files=True)
complete_trial = _completes(_trials)
complete_key = _completes(_keys)
