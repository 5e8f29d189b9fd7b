"""Names beside points, kept clear of the points and of one another."""

from collections.abc import Sequence

from matplotlib.axes import Axes

Box = tuple[float, float, float, float]

# Tried in this order: where the name starts from the point (in heights of a line), and how it is set.
PLACES: list[tuple[float, float, str]] = [
    (0.75, -0.05, "left"),
    (-0.75, -0.05, "right"),
    (0.0, 1.0, "center"),
    (0.0, -1.05, "center"),
    (0.6, 0.75, "left"),
    (0.6, -0.8, "left"),
    (-0.6, 0.75, "right"),
    (-0.6, -0.8, "right"),
    (0.6, 1.6, "left"),
    (0.6, -1.6, "left"),
    (-0.6, 1.6, "right"),
    (-0.6, -1.6, "right"),
]


def label_points(
    axes: Axes,
    points: Sequence[tuple[float, float]],
    names: Sequence[str],
    colour: str,
    obstacles: Sequence[tuple[float, float]],
) -> None:
    """Writes each name at the first of `PLACES` with the least overlap. Limits and layout of `axes` must be final."""
    size = 11.0 if len(names) <= 12 else 9.0
    frame = axes.get_window_extent()
    where: list[tuple[float, float]] = [(float(x), float(y)) for x, y in map(axes.transData.transform, points)]
    taken: list[Box] = [(x - 5, y - 5, x + 5, y + 5) for x, y in where]
    taken += [(x - 2, y - 2, x + 2, y + 2) for x, y in (axes.transData.transform(point) for point in obstacles)]
    for (x, y), name in sorted(zip(where, names, strict=True)):
        width = 0.58 * size * len(name)
        best: tuple[float, int, Box] | None = None
        for rank, (dx, dy, side) in enumerate(PLACES):
            left = x + dx * size - {"left": 0.0, "right": width, "center": width / 2}[side]
            box = (left, y + dy * size - 0.6 * size, left + width, y + dy * size + 0.6 * size)
            outside = width * size * 1.2 - _overlap(box, (frame.x0, frame.y0, frame.x1 + 4, frame.y1))
            cost = sum(_overlap(box, other) for other in taken) + 10 * outside
            if best is None or cost < best[0] - 1e-6:
                best = (cost, rank, box)
        assert best is not None
        dx, dy, side = PLACES[best[1]]
        left, top = map(float, axes.transData.inverted().transform((x + dx * size, y + dy * size)))
        axes.text(left, top, name, ha=side, va="center", fontsize=size, color=colour)  # pyright: ignore[reportArgumentType]
        taken.append(best[2])


def _overlap(a: Box, b: Box) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    return width * height if width > 0 and height > 0 else 0.0
