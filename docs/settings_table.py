"""The settings of `sweeps/reproduce` beside the published ones, value by value: writes `docs/reproduction-settings.md`.

    python docs/settings_table.py

What is published stands in `docs/published_settings.yaml`: for each sweep file its source, the values `all` its rows share, and
those of each row (a method's name, with a number from its second row on). `like` names a table whose values are laid below.
Keys are those of a resolved trial, without `method.` and `pretrain.`; `optimizer.peak_lr` and `views` are worked out. A value that
differs here needs an entry in `reasons`, and `beyond` says what no setting can.
"""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from ssl_sweep.evaluation.knn import KnnConfig
from ssl_sweep.methods.config import ViewConfig
from ssl_sweep.orchestrator.spec.expand import expand
from ssl_sweep.orchestrator.spec.load import load_spec
from ssl_sweep.orchestrator.spec.models import TrialSpec

ROOT = Path(__file__).resolve().parent.parent
PUBLISHED = ROOT / "docs" / "published_settings.yaml"
DOCUMENT = ROOT / "docs" / "reproduction-settings.md"
HEAD = """# Settings of the reproductions

Made by `python docs/settings_table.py` from [published_settings.yaml](published_settings.yaml) and the sweep files: each value that
is known of a published run beside the one that the sweep resolves to. {equal} of {total} values are equal; each other one has its
reason. How to trace a number that misses is in [reproduction.md](reproduction.md).
"""


class Line(NamedTuple):
    row: str
    key: str
    published: str
    here: str
    reason: str

    @property
    def equal(self) -> bool:
        return self.published == self.here


class Section(NamedTuple):
    file: str
    source: str
    lines: list[Line]
    beyond: list[str]


def sections() -> list[Section]:
    """A section for each sweep file of `published_settings.yaml`."""
    published: dict[str, Any] = yaml.safe_load(PUBLISHED.read_text())
    return [_section(name, _whole(name, published)) for name in published]


def _whole(name: str, published: dict[str, Any]) -> dict[str, Any]:
    """The table with the values of the one that it is `like`."""
    table = dict(published[name])
    like = table.pop("like", None)
    return _laid(_whole(like, published), table) if like else table


def _laid(below: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    laid = dict(below)
    for key, value in over.items():
        laid[key] = _laid(laid[key], value) if isinstance(value, dict) and isinstance(laid.get(key), dict) else value
    return laid


def _section(name: str, table: dict[str, Any]) -> Section:
    rows = _rows(ROOT / "sweeps" / "reproduce" / f"{name}.yaml")
    assert list(rows) == list(table["rows"]), f"{name}: the sweep has rows {list(rows)}"
    lines: list[Line] = []
    for row, own in table["rows"].items():
        reasons = table.get("reasons", {}) | own.get("reasons", {})
        for key, value in (table["all"] | own).items():
            if key != "reasons":
                here = ", ".join(dict.fromkeys(_shown(trial[key]) for trial in rows[row]))
                lines.append(Line(row, key, _shown(value), here, reasons.get(key, "")))
    return Section(name, table["source"], lines, table.get("beyond", []))


def _rows(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The resolved values of each row of a sweep file; points of a grid are in one row."""
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    seen: dict[str, list[str]] = defaultdict(list)
    for trial in expand(*load_spec(path)):
        name, settings = trial.method.name, trial.method.model_dump_json()
        if settings not in seen[name]:
            seen[name].append(settings)
        number = seen[name].index(settings) + 1 if not trial.axes else 1
        rows[name if number == 1 else f"{name} {number}"].append(values(trial))
    return dict(rows)


def values(trial: TrialSpec) -> dict[str, Any]:
    """What a table can compare, by its key."""
    optimizer = trial.pretrain.optimizer
    knn = next((item for item in trial.evaluate if isinstance(item, KnnConfig)), None)
    found = {"image_size": trial.image_size, "backbone": trial.backbone.name, "views": summary(trial)}
    found |= {f"backbone.{key}": value for key, value in trial.backbone.options.items()}
    found |= {"knn.k": knn.k[0], "knn.temperature": knn.temperature[0]} if knn else {}
    found |= _flat(trial.pretrain.model_dump()) | {"optimizer.peak_lr": optimizer.peak_lr(trial.pretrain.batch_size)}
    return found | _flat(trial.method.model_dump(exclude={"name", "views"}))


def _flat(tree: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= {f"{key}.{inner}": item for inner, item in value.items()} if isinstance(value, dict) else {key: value}
    return flat


def summary(trial: TrialSpec) -> str:
    """All views in short: count × pixels, area, jitter (brightness/contrast/saturation/hue, probability), and the rest."""
    views = trial.method.views
    return " + ".join(_view(view, trial.image_size) for view in (*views.global_views, *views.local_views))


def _view(view: ViewConfig, image_size: int) -> str:
    words = [f"{view.count}×{view.pixels(image_size)}", f"{view.scale[0]:g}-{view.scale[1]:g}"]
    if view.jitter is not None:
        j = view.jitter
        words.append(f"jitter {j.brightness:g}/{j.contrast:g}/{j.saturation:g}/{j.hue:g} p {j.p:g}")
    words += [f"gray {view.grayscale:g}"] if view.grayscale else []
    if view.blur is not None:
        sigma = "" if view.blur.sigma == (0.1, 2.0) else f" from {view.blur.sigma[0]:g}"
        words.append(f"blur {view.blur.p:g}{sigma}")
    if view.solarize is not None:
        words.append(f"solarize {view.solarize.p:g}{' before blur' if view.solarize_before_blur else ''}")
    return " ".join([*words, *(["bicubic"] if view.interpolation == "bicubic" else [])])


def _shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, (list, tuple)):
        return ", ".join(map(_shown, value))
    return f"{value:.6g}" if isinstance(value, (int, float)) else str(value)


def document(found: Iterable[Section]) -> str:
    """The whole document in Markdown; what all rows of a table share is listed once."""
    found = list(found)
    lines = [line for section in found for line in section.lines]
    parts = [HEAD.format(equal=sum(line.equal for line in lines), total=len(lines))]
    for section in found:
        parts.append(f"## [{section.file}](../sweeps/reproduce/{section.file}.yaml)\n\n{section.source}\n")
        parts.append("| row | setting | published | here | reason |\n| --- | --- | --- | --- | --- |")
        parts.append("\n".join(_table(section.lines)))
        parts.append("".join(f"\n- {text}" for text in section.beyond) + "\n" if section.beyond else "")
    return "\n".join(parts).rstrip() + "\n"


def _table(lines: list[Line]) -> list[str]:
    rows: dict[tuple[str, str, str, str], list[str]] = defaultdict(list)
    for line in lines:
        rows[line[1:]].append(line.row)
    total = len({line.row for line in lines})
    return [
        f"| {'all' if len(names) == total else ', '.join(names)} | `{key}` | {published} |"
        f" {'equal' if published == here else here} | {reason if published != here else ''} |"
        for (key, published, here, reason), names in rows.items()
    ]


if __name__ == "__main__":
    DOCUMENT.write_text(document(sections()))
