"""The best settings' features in the report: a map of test images, and the nearest neighbours of some of them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from ...methods.quantities import integer
from ..store.records import TrialResult
from ..store.trial_state import TrialState
from .feature_views import NEIGHBOURS, FeatureViews, Look
from .main_table import DataTable
from .ranking import deciding
from .svg import HUES, SVG, Drawing, Plot

MOST_SHOWN = 3
"""Settings of a data set."""
MOST_NAMED = 20
"""Classes in a legend."""
MAP, COLUMNS, LINE = 420, 3, 17
"""Side of a map, columns of its legend and the height of a line, in CSS pixels."""
LONGEST = 17
"""Characters of a class in the legend."""
TITLE = "Map of test features"
SHEETS = "Nearest neighbours"
SHEET_CAPTION = (
    "A test image of each of some classes, drawn alike for all settings, and beside it the {count} {which} images whose features "
    "are the most similar by cosine. Green: of the same class; red with a cross: of another."
)


@dataclass(frozen=True)
class Sheet:
    """Nearest neighbours of one setting."""

    title: str
    caption: str
    jpeg: bytes


@dataclass(frozen=True)
class FeatureSection:
    """Of one data set. What is missing is said in `reasons`, as sentences."""

    maps: Plot
    sheets: tuple[Sheet, ...]
    reasons: tuple[str, ...]


def feature_section(data: DataTable, name: str, look: Look | None) -> FeatureSection:
    """The best settings by the first evaluation, baselines left out; nothing without a `look` at the store."""
    drawings: list[Drawing] = []
    sheets: list[Sheet] = []
    reasons: dict[str, None] = {}
    described: dict[str, int] = {}
    for index, (label, trial) in enumerate(_best(data) if look is not None else ()):
        views = look(trial) if look is not None else ""
        if isinstance(views, str):
            reasons[f"No map of features of {label}: {views}."] = None
            continue
        if views.places:
            drawings.append(_map(f"{name}-{index}", label, views))
            described[label] = len(views.places)
        else:
            reasons[f"No map of features of {label}: {views.no_map}."] = None
        if views.sheet:
            caption = SHEET_CAPTION.format(count=NEIGHBOURS, which=views.neighbours)
            sheets.append(Sheet(label, caption, views.jpeg))
        else:
            reasons[f"No nearest neighbours of {label}: {views.no_sheet}."] = None
    shown = integer(max(described.values(), default=0))
    caption = (
        f"{shown} test images by the features of the best settings, of one seed each: PCA, then t-SNE of features of length 1. "
        "Distances between far groups mean little, and nothing was tuned by them."
    )
    description = f"t-SNE of test features, coloured by class: {', '.join(described)}."
    return FeatureSection(
        Plot(name, TITLE, caption, tuple(drawings), wide=True, description=description), tuple(sheets), tuple(reasons)
    )


def _best(data: DataTable) -> list[tuple[str, TrialResult]]:
    """Labels of the settings with the best means, and of each the first trial that has finished."""
    protocol = deciding(data.settings)
    if protocol is None:
        return []
    rows: list[tuple[float, str, TrialResult]] = []
    for setting, label in zip(data.settings, data.names, strict=True):
        score = setting.main(protocol)
        trial = next((trial for trial in setting.trials if trial.status is TrialState.FINISHED), None)
        if score is not None and trial is not None and not setting.baseline:
            rows.append((score.mean, label, trial))
    rows.sort(key=lambda row: row[0], reverse=protocol.main.higher_is_better)
    return [(label, trial) for _, label, trial in rows[:MOST_SHOWN]]


def _map(name: str, title: str, views: FeatureViews) -> Drawing:
    """A dot for each image: one path a class, whose points are strokes without length, so that thousands stay small."""
    counts = Counter(label for label in views.labels if label >= 0)
    named = sorted(label for label, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_NAMED])
    others = len(counts) - len(named)
    top, entries = 30, [*named] + ([-1] if others or -1 in views.labels else [])
    height = top + MAP + 12 + LINE * -(-len(entries) // COLUMNS)
    texts = {label: views.classes[label] for label in named}
    texts[-1] = f"{integer(others)} other classes" if others else "no label"
    parts = [
        f'<svg xmlns="{SVG}" viewBox="0 0 {MAP} {height}" width="{MAP}" height="{height}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc"><title id="{name}-title">Map of {escape(title)}</title>',
        f'<desc id="{name}-desc">t-SNE of {len(views.places)} test images.</desc>',
        f'<g style="font: 12px var(--font, system-ui, sans-serif); fill: var(--ink)"><text y="16" font-weight="bold" '
        f'font-size="13">{escape(title)}</text>',
    ]
    for place, label in enumerate(entries):
        x, y = place % COLUMNS * MAP / COLUMNS, top + MAP + 20 + place // COLUMNS * LINE
        parts.append(f'<path d="M{x + 6:.0f} {y - 4:.0f}h0" {_style(named, label, 8)}/>')
        parts.append(f'<text x="{x + 15:.0f}" y="{y:.0f}">{escape(_cut(texts[label]))}</text>')
    parts.append(f'</g><g transform="translate(6 {top + 6}) scale({(MAP - 12) / 1000:.3f})">')
    for label in (-1, *named):
        dots = [place for place, own in zip(views.places, views.labels, strict=True) if _group(named, own) == label]
        path = "".join(f"M{x} {1000 - y}h0" for x, y in dots)
        parts.append(f'<path d="{path}" {_style(named, label, 11)} opacity=".8"/>' if dots else "")
    return Drawing("".join([*parts, "</g></svg>"]), MAP, height)


def _group(named: Sequence[int], label: int) -> int:
    return label if label in named else -1


def _style(named: Sequence[int], label: int, size: int) -> str:
    """Ten colours, as round dots and then as squares."""
    index = named.index(label) if label in named else -1
    colour = f"var(--{HUES[index % len(HUES)]})" if index >= 0 else "var(--faint)"
    shape = "round" if index < len(HUES) else "square"
    return f'style="stroke: {colour}; fill: none" stroke-width="{size}" stroke-linecap="{shape}"'


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
