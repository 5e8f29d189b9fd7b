"""Schedules as pure functions of how far training is."""

import math

from ..base import Progress


def linear(start: float, end: float, fraction: float) -> float:
    """Straight line from `start` to `end`, and constant after fraction 1."""
    return start + (end - start) * min(1.0, fraction)


def warmed_up(start: float, end: float, epochs: float, progress: Progress) -> float:
    """A line from `start` to `end` over the first `epochs`, and constant after them."""
    steps = epochs * progress.steps_per_epoch
    return linear(start, end, progress.step / steps if steps else 1.0)


def cosine(start: float, end: float, fraction: float) -> float:
    """end - (end - start) (cos(pi fraction) + 1) / 2."""
    return end - (end - start) * (math.cos(math.pi * fraction) + 1) / 2


def warmup_cosine(step: int, warmup_steps: int, total_steps: int, end: float) -> float:
    """Factor on the peak rate: (step + 1) / warmup_steps, then a cosine from 1 to `end`, reached at the last step."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return cosine(1.0, end, (step - warmup_steps) / max(1, total_steps - warmup_steps - 1))
