"""Table of how each setting was trained: optimizer, rates, views, recipe, whatever differs between rows, and where its weights are."""

from collections.abc import Sequence
from dataclasses import replace

from ..store.records import Scalar
from .formats import NONE, scalar
from .main_table import DataTable
from .ranking import left_out
from .settings import Setting
from .table import Cell, Table, plain_table

TITLE = "Settings of the training"
REMARK = (
    "Learning rate: as set, before it is scaled by the batch size. Further columns: every value of the method, its views and "
    "the optimisation that differs between rows; {} that do not differ are in results.csv, with all of these. Weights: of the "
    "first seed."
)
MOST_VARYING = 30
"""Columns of values that differ."""
OPTIMIZER = "pretrain.optimizer."
ALWAYS = {
    "optimizer": f"{OPTIMIZER}name",
    "learning rate": f"{OPTIMIZER}lr",
    "weight decay": f"{OPTIMIZER}weight_decay",
}
"""Columns that every such table has, with their keys."""


def trained_table(data: DataTable) -> Table:
    """A row for each setting; none if nothing is known, as of results of earlier versions."""
    if not any(setting.first.trained_with for setting in data.settings):
        return plain_table(TITLE, [], [])
    varying, alike = _varying(data.settings)
    shown = varying[:MOST_VARYING]
    rows = [
        [
            name,
            *(_value(setting, key) for key in ALWAYS.values()),
            setting.first.crops or NONE,
            setting.first.recipe,
            *(_value(setting, key) for key in shown),
            Cell(setting.first.weights_file or NONE, code=True),
        ]
        for setting, name in data.detailed.values()
    ]
    labels = ["setting", *ALWAYS, "views", "recipe", *map(_short, shown), "weights"]
    table = plain_table(TITLE, labels, rows, numeric="learning rate|weight decay")
    more = (
        [f"{len(varying) - len(shown)} more values differ: results.csv has them."] if len(varying) > len(shown) else []
    )
    remarks = (REMARK.format(alike), *more, *left_out(data.settings, "results.csv"))
    return replace(table, remarks=remarks)


def _varying(settings: Sequence[Setting]) -> tuple[list[str], int]:
    """Keys whose values differ between the settings that are trained, and how many others there are.

    A method's own setting differs only if two rows of methods that have it do: else every method's would.
    """
    values: dict[str, set[Scalar]] = {}
    for setting in settings:
        for key, value in setting.first.trained_with.items() if setting.first.crops else ():
            values.setdefault(key, set()).add(value)
    differing = [key for key, found in values.items() if len(found) > 1 and key not in ALWAYS.values()]
    return differing, len(values) - len(differing)


def _short(key: str) -> str:
    return key.removeprefix("pretrain.").removeprefix("method.")


def _value(setting: Setting, key: str) -> str:
    trained = setting.first.trained_with
    return scalar(trained[key]) if setting.first.crops and key in trained else NONE
