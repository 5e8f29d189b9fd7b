"""Published numbers as text of 80 columns: a table for each data set, and below them what each figure is."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ...datasets import DATASETS
from ..published import Published, Run

WIDTH = 80
HEADS = ("method", "backbone", "epochs", "batch", "by", "top-1", "top-5", "#")
RIGHT = ("epochs", "batch", "top-1", "top-5", "#")
UNKNOWN = "–"
BEST_EPOCH = "* best epoch on the test set; unmarked: the last epoch, or not stated"
SUPERSEDED = "† superseded: "


class _Source(NamedTuple):
    """What figures with the same number have in common."""

    source: str
    reference: str
    version: str
    how: str

    @classmethod
    def of(cls, row: Published) -> "_Source":
        return cls(row.source, row.reference, row.version, f"{row.evaluation}, {row.how}")

    def __str__(self) -> str:
        version = f" ({self.version})" if self.version else ""
        return f"{', '.join(part for part in (self.source, self.reference) if part)}{version}: {self.how}"


def table_lines(rows: Sequence[Published]) -> Iterator[str]:
    """The rows by data set and image size, methods in the order of the alphabet, the best first."""
    groups: dict[tuple[str, int | None], list[Published]] = {}
    for row in rows:
        groups.setdefault((row.dataset, row.image_size), []).append(row)
    order = list(DATASETS)
    numbers = {source: i for i, source in enumerate(dict.fromkeys(map(_Source.of, rows)), start=1)}
    known = sorted(groups, key=lambda key: (key[0] not in order, order.index(key[0]) if key[0] in order else 0, key))
    cells = {key: [HEADS, *_lines(groups[key], numbers)] for key in known}
    widths = [
        max(map(len, column)) for column in zip(*(line for lines in cells.values() for line in lines), strict=True)
    ]
    for dataset, size in known:
        yield f"{dataset}, {size} px" if size else dataset
        yield from (_set(line, widths) for line in cells[dataset, size])
        yield ""
    yield from _footnotes(rows, numbers)


def _set(cells: tuple[str, ...], widths: list[int]) -> str:
    gap = " " if sum(widths) + 2 * (len(widths) - 1) > WIDTH else "  "
    placed = zip(HEADS, cells, widths, strict=True)
    return gap.join(text.rjust(width) if head in RIGHT else text.ljust(width) for head, text, width in placed).rstrip()


def _lines(rows: Iterable[Published], numbers: dict[_Source, int]) -> list[tuple[str, ...]]:
    """A line for each training and evaluation; metrics other than top-1 and top-5 have lines of their own."""
    groups: dict[tuple[Run, str, str, str, str], dict[str, Published]] = {}
    for row in rows:
        name = row.metric if row.metric not in ("top1", "top5") else ""
        groups.setdefault((row.run, row.method, row.evaluation, row.how, name), {})[row.metric] = row
    found: list[tuple[str, float, tuple[str, ...]]] = []
    for (_, _, evaluation, _, name), figures in groups.items():
        first = next(iter(figures.values()))
        main = figures.get(name or "top1", first)
        line = (
            first.method,
            first.backbone,
            _count(first.epochs),
            _count(first.batch_size),
            f"{evaluation} {name}".strip(),
            _figure(figures.get(name or "top1")),
            _figure(figures.get("top5")),
            str(numbers[_Source.of(first)]),
        )
        found.append((first.method, -main.value, line))
    return [line for _, _, line in sorted(found)]


def _count(value: int | None) -> str:
    return UNKNOWN if value is None else str(value)


def _figure(row: Published | None) -> str:
    return "" if row is None else row.text + "*" * row.best_epoch + "†" * bool(row.superseded)


def _footnotes(rows: Sequence[Published], numbers: dict[_Source, int]) -> Iterator[str]:
    width = len(str(len(numbers)))
    for source, number in numbers.items():
        yield from _folded(f"{number:>{width}}  {source}", width + 2)
    if any(row.best_epoch for row in rows):
        yield BEST_EPOCH
    for text in dict.fromkeys(f"{row.source}, {row.title}: {row.superseded}" for row in rows if row.superseded):
        yield from _folded(SUPERSEDED + text, 2)


def _folded(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=" " * indent, break_long_words=False, drop_whitespace=True)
