"""The methods as a table, from their configurations and recipes: `ssl-sweep methods` and ``docs/methods.md``."""

import re
from typing import Any

from ...methods import METHODS, MethodConfig
from ..spec.recipes import SWEEPS, available, load_recipe

RECIPE = "lightly"
"""The recipe with files of its own; ``paper`` is every method's default."""


def method_rows(*, details: bool) -> list[dict[str, Any]]:
    """One row a method: name, title, family, what it needs, its paper; `details`: its views and recipes beside ``paper`` too."""
    rows: list[dict[str, Any]] = []
    listed = _listed() if details else {}
    for name, config in METHODS.items():
        needed = ((config.needs_vit, "a ViT"), (config.needs_labels, "labels"), (config.weights == "needed", "weights"))
        needs = [text for flag, text in needed if flag]
        row = {"name": name, "title": config.title, "family": config.family, "needs": ", ".join(needs)}
        if details:
            recipes = [dataset for dataset, methods in listed.items() if name in methods]
            row |= {"views": _views(config), "recipes": recipes}
        rows.append(row | {"paper": config.paper})
    return rows


def _listed() -> dict[str, dict[str, Any]]:
    """The methods of each data set's recipe. Reading these files takes as long as everything else together."""
    return {name: load_recipe(SWEEPS / "recipes" / f"{RECIPE}-{name}.yaml").methods for name in available(RECIPE)}


def _views(config: type[MethodConfig]) -> str:
    views = config.model_validate({}).views
    large, small = (sum(view.count for view in group) for group in (views.global_views, views.local_views))
    return f"{large} + {small} small" if small else str(large)


def markdown_table() -> str:
    """The rows in Markdown, papers as links."""
    lines = ["| method | title | family | needs | views | `lightly` recipes | paper |", "| --- " * 7 + "|"]
    for row in method_rows(details=True):
        recipes = ", ".join(row["recipes"])
        cells = (f"`{row['name']}`", row["title"], row["family"], row["needs"], row["views"], recipes)
        lines.append(f"| {' | '.join(cells)} | {_linked(row['paper'])} |")
    return "\n".join(lines)


def _linked(paper: str) -> str:
    return re.sub(r"^(.*?),? arXiv:(\S+)$", r"[\1](https://arxiv.org/abs/\2)", paper)
