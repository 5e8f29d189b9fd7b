"""The report as one HTML file: style and plots are in it, nothing is loaded from elsewhere."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from .document import Document
from .svg import Plot, theme_css


def to_html(document: Document) -> str:
    environment = Environment(
        loader=PackageLoader(str(__package__), "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(
        document=document,
        drawings=_drawings,
        json=_json,
        light=Markup(theme_css(dark=False)),
        dark=Markup(theme_css(dark=True)),
    )


def _json(text: str) -> Markup:
    """JSON within a script element, which nothing in it may end."""
    return Markup(text.replace("<", "\\u003c"))


def _drawings(plot: Plot) -> list[Markup]:
    """The SVGs, whose text matplotlib and ElementTree have escaped."""
    return [Markup(drawing.svg) for drawing in plot.drawings]
