"""From a matplotlib figure to an SVG that takes its colours from CSS and can stand in a page beside others.

Figures are drawn in the light theme's colours; each is then replaced by its CSS variable, so that one drawing serves
light, dark and print. Text stays text: it can be searched, read aloud and set in the reader's font.
"""

import io
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

SVG = "http://www.w3.org/2000/svg"
XLINK = "{http://www.w3.org/1999/xlink}href"

# name: light, dark. Methods are told apart in both under the common colour deficiencies as far as ten hues can be;
# labels stand beside the marks, so no colour has to be matched with a legend.
THEME = {
    "ink": ("#1c2430", "#e6e9ef"),
    "muted": ("#5b6573", "#a3acba"),
    "grid": ("#dfe3e8", "#2f3742"),
    "faint": ("#c6ccd5", "#465060"),
    "page": ("#fefefe", "#12161d"),
    "base": ("#707784", "#929bab"),
    "m0": ("#2f6db5", "#6ea8ee"),
    "m1": ("#c8562b", "#f08c62"),
    "m2": ("#25806a", "#52c4a5"),
    "m3": ("#8657b8", "#b98dea"),
    "m4": ("#a67a00", "#dcb03f"),
    "m5": ("#bf3f78", "#f07fae"),
    "m6": ("#1b86a0", "#58c3dd"),
    "m7": ("#6a7d1c", "#adc253"),
    "m8": ("#9a5a3c", "#d29a7b"),
    "m9": ("#56667f", "#9fb0ca"),
}
LIGHT = {name: light for name, (light, _) in THEME.items()}
HUES = [name for name in THEME if re.fullmatch(r"m\d", name)]

RC: dict[Any, Any] = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "font.family": ["DejaVu Sans"],
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.labelsize": 11,
    "axes.edgecolor": LIGHT["faint"],
    "axes.labelcolor": LIGHT["muted"],
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": LIGHT["grid"],
    "grid.linewidth": 0.8,
    "text.color": LIGHT["ink"],
    "xtick.color": LIGHT["muted"],
    "ytick.color": LIGHT["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
}


@dataclass(frozen=True)
class Drawing:
    """One SVG, for a page whose style sheet defines the variables of `THEME`."""

    svg: str
    width: int
    height: int


@dataclass(frozen=True)
class Plot:
    """A plot of one or more drawings. Without any, `missing` says why."""

    name: str
    title: str
    caption: str
    drawings: tuple[Drawing, ...] = ()
    missing: str = ""
    wide: bool = False
    """Small multiples: takes the whole width of the page."""
    description: str = ""
    """What the plot shows, in words and numbers."""


def theme_css(dark: bool) -> str:
    return " ".join(f"--{name}: {pair[dark]};" for name, pair in THEME.items())


def new_figure(width: int, height: int) -> Figure:
    """A figure of so many CSS pixels; to be made, drawn on and rendered under ``rc_context(RC)``."""
    engine = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03)
    return Figure(figsize=(width / 72, height / 72), dpi=72, layout=engine)


def render(figure: Figure, name: str, title: str, description: str) -> Drawing:
    """The figure as SVG. `name` makes its ids its own; `title` and `description` are what a screen reader says."""
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": name}), warnings.catch_warnings():
        # Only the width of the text is measured with matplotlib's font; the reader's has the glyph.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        FigureCanvasSVG(figure).print_svg(
            buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    width, height = (round(float(side) * 72) for side in figure.get_size_inches())
    root = ElementTree.fromstring(buffer.getvalue())
    _own_ids(root, name)
    for element in root.iter():
        if "style" in element.attrib:
            element.set("style", _style(element.attrib["style"]))
    _drop(root, f"{{{SVG}}}metadata")
    _drop(root, f"{{{SVG}}}style")
    root.attrib.clear()
    root.attrib |= {"viewBox": f"0 0 {width} {height}", "width": str(width), "height": str(height), "role": "img"}
    root.attrib |= {"aria-labelledby": f"{name}-title {name}-desc", "style": "stroke-linejoin: round"}
    for index, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(f"{{{SVG}}}{tag}", {"id": f"{name}-{tag}"})
        element.text = text
        root.insert(index, element)
    ElementTree.register_namespace("", SVG)
    return Drawing(ElementTree.tostring(root, encoding="unicode"), width, height)


def _own_ids(root: ElementTree.Element, name: str) -> None:
    """Ids that are referred to get `name` before them, the others go: matplotlib calls every figure's parts the same."""
    used: set[str] = set()
    for element in root.iter():
        if XLINK in element.attrib:
            element.set("href", element.attrib.pop(XLINK))
        used |= {value[1:] for key, value in element.attrib.items() if key == "href"}
        used |= {found for value in element.attrib.values() for found in re.findall(r"url\(#([^)]+)\)", value)}
    for element in root.iter():
        own = element.attrib.pop("id", None)
        if own in used:
            element.set("id", f"{name}-{own}")
        for key, value in element.attrib.items():
            if key == "href":
                element.set(key, f"#{name}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))


def _style(style: str) -> str:
    for variable, colour in LIGHT.items():
        style = style.replace(colour, f"var(--{variable})")
    return re.sub(r"'DejaVu Sans'[^;]*", "var(--font, system-ui, sans-serif)", style)


def _drop(root: ElementTree.Element, tag: str) -> None:
    for parent in root.iter():
        for child in [child for child in parent if child.tag == tag]:
            parent.remove(child)


def standalone(plot: Plot, columns: int = 3) -> str:
    """The drawings side by side in one SVG file with the themes in it, for where there is no style sheet."""
    columns = min(columns, len(plot.drawings))
    gap = 16 if len(plot.drawings) > 1 else 0
    width = gap + max(drawing.width for drawing in plot.drawings)
    height = gap + max(drawing.height for drawing in plot.drawings)
    rows = -(-len(plot.drawings) // columns)
    placed = "".join(
        drawing.svg.replace("<svg ", f'<svg x="{index % columns * width}" y="{index // columns * height}" ', 1)
        for index, drawing in enumerate(plot.drawings)
    )
    size = f'viewBox="0 0 {columns * width} {rows * height}" width="{columns * width}" height="{rows * height}"'
    css = (
        f"svg {{ {theme_css(dark=False)} }} @media (prefers-color-scheme: dark) {{ svg {{ {theme_css(dark=True)} }} }}"
    )
    return f'<svg xmlns="{SVG}" {size}><style>{css}</style>{placed}</svg>\n'


def hue(order: Sequence[str], method: str) -> tuple[str, str]:
    """Colour (as drawn) and marker of a method: the same in all plots of a report. Past ten, the marker changes."""
    index = order.index(method)
    return LIGHT[HUES[index % len(HUES)]], "osD^v"[index // len(HUES) % 5]
