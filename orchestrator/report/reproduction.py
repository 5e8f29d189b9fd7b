"""Each row of the main table beside the figures that others published: how far apart they are, and what differs."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..published.rows import settings_text
from .formats import NONE, accuracy, difference, superscript
from .intervals import SCORED, identity
from .main_table import DataTable
from .published import Match, matched
from .ranking import left_out
from .table import Cell, Table, plain_table

if TYPE_CHECKING:
    import pyarrow as pa

TITLE = "Reproduction"
DIFFERENCE_REMARK = (
    "Theirs: the nearest training of each source in batch size and epochs. A difference, ours less theirs, is given only if "
    "batch size, epochs, protocol and epoch (* the best one on the test set) are the same; otherwise it is said what is not."
)
SPREAD_REMARK = (
    "Within seed spread: whether theirs is in the 95 % prediction interval of one more seed of ours, by Student's t. With few "
    "seeds this is wide. From one seed nothing is said."
)
TRAINING_REMARK = (
    "What differs in the training is said as far as the source states it; what it does not state may differ."
)

COLUMNS: dict[str, str] = {
    **SCORED,
    "epoch": "string",
    "n": "int64",
    "mean": "double",
    "std": "double",
    "source": "string",
    "reference": "string",
    "source_version": "string",
    "source_date": "string",
    "published_title": "string",
    "published": "double",
    "published_protocol": "string",
    "published_settings": "string",
    "published_epoch": "string",
    "published_epochs": "int64",
    "published_batch_size": "int64",
    "published_recipe": "string",
    "difference": "double",
    "low": "double",
    "high": "double",
    "within": "bool",
    "obstacles": "string",
    "training": "string",
    "notes": "string",
    "superseded": "string",
}
"""Name and Arrow type of each column; what is unknown is null. docs/report.md says what they mean."""

Value = str | bool | int | float | None


def reproduction_table(data: DataTable) -> Table:
    """The main metric of every evaluation for which there is a published figure."""
    rows: list[list[str | Cell]] = []
    notes: list[str] = []
    for setting, name in data.detailed.values():
        for match in matched(data.published, setting, data.protocols):
            if match.row.metric == match.protocol.main.name:
                rows.append(_row(match, name, data.protocols.index(match.protocol) + 1))
                notes += _notes(match)
    heads = ["setting", "evaluation", "source", "theirs", "ours", "difference", "within seed spread", "what differs"]
    table = plain_table(TITLE, heads, rows, "theirs|ours|difference")
    spoken = [DIFFERENCE_REMARK]
    spoken += [SPREAD_REMARK] if any(row[5] != NONE for row in rows) else []
    spoken += [TRAINING_REMARK, *dict.fromkeys(notes), *left_out(data.settings, "reproduction.csv")]
    return replace(table, remarks=tuple(spoken if rows else ()))


def _row(match: Match, name: str, number: int) -> list[str | Cell]:
    row, metric = match.row, match.protocol.main
    verdict = {True: "yes", False: "no", None: NONE}[match.within]
    return [
        name,
        f"{match.protocol.title}{superscript(number)} {metric.label}",
        row.source,
        row.text + "*" * row.best_epoch,
        accuracy(match.ours, digits=metric.digits) + "*" * match.best_epoch,
        NONE if match.difference is None else difference(match.ours.mean, row.value),
        verdict,
        "; ".join((*match.obstacles, *match.training)) or "nothing known",
    ]


def _notes(match: Match) -> Iterator[str]:
    """What is known against the published figure, and where it is from."""
    row = match.row
    where = ", ".join(part for part in (row.reference, row.version, row.date) if part)
    known = [row.notes, f"superseded: {row.superseded}" if row.superseded else ""]
    text = "; ".join(part for part in known if part)
    yield f"{row.source}, {row.title}{f' ({where})' if where else ''}{f': {text}' if text else ''}."


def reproduction_rows(sweep: str, tables: Sequence[DataTable]) -> "pa.Table":
    """One row per setting and published figure, of every metric."""
    import pyarrow as pa

    rows = [
        {"sweep": sweep, **identity(setting), **_tidy(match)}
        for data in tables
        for setting in data.settings
        for match in matched(data.published, setting, data.protocols)
    ]
    schema = pa.schema([(key, pa.type_for_alias(kind)) for key, kind in COLUMNS.items()])
    return pa.Table.from_pylist(rows, schema=schema)


def _tidy(match: Match) -> dict[str, Value]:
    row, protocol, reach = match.row, match.protocol, match.reach
    found: dict[str, Value] = {"evaluation": protocol.known_as, "protocol": protocol.protocol, "split": protocol.split}
    found |= {"settings": protocol.settings, "changed": protocol.changed, "metric": row.metric}
    found |= {"epoch": "best" if match.best_epoch else "last"}
    found |= {"n": match.ours.n, "mean": match.ours.mean, "std": match.ours.std}
    found |= {"source": row.source, "reference": row.reference, "source_version": row.version, "source_date": row.date}
    found |= {"published_title": row.title, "published": row.value, "published_recipe": row.recipe}
    found |= {"published_protocol": row.protocol or row.differs}
    found |= {"published_settings": settings_text({**row.protocol_settings, **row.settings})}
    found |= {"published_epoch": "best" if row.best_epoch else "last"}
    found |= {"published_epochs": row.epochs, "published_batch_size": row.batch_size}
    found |= {"difference": match.difference, "within": match.within}
    found |= {"low": reach.low, "high": reach.high} if reach else {}
    found |= {"obstacles": "; ".join(match.obstacles), "training": "; ".join(match.training)}
    return found | {"notes": row.notes, "superseded": row.superseded}
