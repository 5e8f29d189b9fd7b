"""The plots of a report: training curves, accuracy against time, kNN against linear, memory and throughput."""

from collections.abc import Callable, Sequence

import matplotlib

from ...methods.quantities import integer
from .curves import Colour, training_curves
from .formats import memory
from .main_table import DataTable
from .scatter import accuracy_against_time, knn_against_linear
from .settings import Setting
from .statistics import spread
from .svg import LIGHT, RC, Plot, hue, new_figure, render

WIDTH = 460
PLOTS = {
    "training": "Training",
    "time": "Accuracy against training time",
    "knn-linear": "kNN against linear probe",
    "memory": "Peak memory",
    "throughput": "Throughput",
}
"""By the end of its name, each plot's title."""


def draw_plots(data: DataTable, methods: Sequence[str], prefix: str) -> tuple[Plot, ...]:
    """The plots of one data set. `methods` are those of the whole sweep: they fix the colours."""

    def colour(setting: Setting) -> tuple[str, str]:
        return (LIGHT["base"], "o") if setting.baseline else hue(methods, setting.first.method)

    settings, names = zip(*data.detailed.values(), strict=True)
    with matplotlib.rc_context(RC):
        return (
            training_curves(f"{prefix}training", settings, names, colour),
            accuracy_against_time(f"{prefix}time", PLOTS["time"], data, colour),
            knn_against_linear(f"{prefix}knn-linear", PLOTS["knn-linear"], data, colour),
            _bars(f"{prefix}memory", PLOTS["memory"], _gigabytes, memory, settings, names, colour),
            _bars(f"{prefix}throughput", PLOTS["throughput"], _throughput, _per_second, settings, names, colour),
        )


def _gigabytes(setting: Setting) -> float | None:
    return setting.memory()


def _throughput(setting: Setting) -> float | None:
    """None for what is not trained."""
    rate = spread([t.pretrain.images_per_second for t in setting.trials if t.pretrain and t.pretrain.epochs])
    return rate.mean if rate else None


def _per_second(rate: float) -> str:
    return f"{integer(round(rate))} images/s" if rate >= 10 else f"{rate:.2g} images/s"


def _bars(
    name: str,
    title: str,
    value: Callable[[Setting], float | None],
    text: Callable[[float], str],
    settings: Sequence[Setting],
    names: Sequence[str],
    colour: Colour,
) -> Plot:
    """A bar for each setting, the largest on top, with its number beside it: no axis is needed."""
    found = [(v, label, s) for s, label in zip(settings, names, strict=True) if (v := value(s)) is not None]
    if not found:
        return Plot(name, title, "", missing=f"No plot of {title.lower()}: none was recorded.")
    found.sort(key=lambda entry: entry[0])
    figure = new_figure(WIDTH, 24 * len(found) + 16)
    axes = figure.subplots()
    for position, (size, _, setting) in enumerate(found):
        axes.barh(position, size, height=0.62, color=colour(setting)[0])
        axes.annotate(text(size), (size, position), (5, 0), textcoords="offset points", va="center", color=LIGHT["ink"])
    axes.set_yticks(range(len(found)), [label for _, label, _ in found], color=LIGHT["ink"])
    axes.set_xticks([])
    axes.set_xlim(0, (found[-1][0] or 1) * 1.3)
    axes.set_ylim(-0.6, len(found) - 0.4)
    axes.grid(visible=False)
    axes.spines[["bottom"]].set_visible(False)
    hardware = ", ".join(sorted({setting.hardware() for _, _, setting in found} - {""}))
    caption = (
        "Training images a second over all workers, mean of the seeds"
        if text is _per_second
        else "Of the busiest worker"
    )
    spoken = "; ".join(f"{label}: {text(size)}" for size, label, _ in reversed(found))
    drawing = render(figure, name, title, f"{spoken}.")
    return Plot(
        name, title, f"{caption}; {hardware}." if hardware else f"{caption}.", (drawing,), description=f"{spoken}."
    )
