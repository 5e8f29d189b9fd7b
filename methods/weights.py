"""Given weights for a backbone: of timm, torchvision, Lightly, solo-learn, MoCo, DINO, MAE, of our own, in a file of any shape.

One rule for all: of all names that may stand before a backbone's own, as ``state_dict.module.encoder_q``, and of all layouts of
these (`key_layouts.py`), those count under which most of the backbone's tensors are found, with equal shapes.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from timm.layers.pos_embed import resample_abs_pos_embed
from torch import Tensor

from .encoder import Encoder
from .key_layouts import COUNTER, Layout, layouts
from .quantities import plural
from .weight_files import WeightsError

POSITIONS, TOKEN, REGISTERS = "pos_embed", "cls_token", "reg_token"
BETTER, WORSE = ("teacher", "target", "ema"), ("student", "momentum", "k")
"""Words in the names of networks: if a file has several, which is taken before others, and which after them."""
SHOWN = 4
"""Names that a message lists."""


class Match(NamedTuple):
    """What of a file is the backbone."""

    tensors: Mapping[str, Tensor]
    """Under the encoder's own names, in its shapes and types."""
    total: int
    """Tensors that the encoder has, without counters."""
    place: str
    """What stands before the backbone's names in the file; empty: nothing."""
    layout: str
    also: tuple[str, ...]
    """Other places at which a whole backbone is."""
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    """Names, each with the shape that it has and the one that it should have."""
    left_over: tuple[str, ...]
    """Names after `place` that no part of the backbone has, as of heads."""
    resampled: str | None
    """The grids of a position embedding, in words."""
    converted: tuple[str, ...]
    """Types of numbers that were not the encoder's."""
    whole_numbers: tuple[str, ...]
    """Names of weights that are integers in the file, each with its type: no network is trained in them."""

    @property
    def found(self) -> int:
        """How many of the encoder's tensors the file has, without counters."""
        return self.total - len(self.missing) - len(self.misshapen)

    @property
    def is_whole(self) -> bool:
        return not self.missing and not self.misshapen

    def __str__(self) -> str:
        """For logs: what was taken, from where, and what was not."""
        others = "', '".join(self.also)
        clauses = (
            (self.place, f"under '{self.place}'"),
            (self.also, f"before '{others}', which would fit as well"),
            (self.layout != "timm", f"named as by {self.layout}"),
            (self.resampled, f"positions resampled from {self.resampled}"),
            (self.converted, f"converted from {', '.join(self.converted)}"),
            (self.missing, f"not in the file: {listed(self.missing)}"),
            (self.misshapen, f"of another shape: {listed(self.misshapen)}"),
            (self.left_over, f"not of the backbone: {listed(self.left_over)}"),
        )
        return "; ".join(
            [f"{self.found} of {plural(self.total, 'tensor')}", *(text for applies, text in clauses if applies)]
        )


def match_weights(
    found: Mapping[str, Tensor], encoder: Encoder, *, prefix: str | None = None, partial: bool = False
) -> Match:
    """Find the tensors of `encoder` among those of a file.

    Args:
        found: by dotted names, see `tensors_in`.
        encoder: freshly built; it is not changed.
        prefix: what stands before the backbone's names, if it is not to be found out.
        partial: let some be missing.

    Raises:
        WeightsError: a part of the backbone is missing, has another shape, is not finite or is of integers.
    """
    own: dict[str, Tensor] = encoder.model.state_dict()
    found = _with_split_biases(found, own)
    needed = [name for name in own if not name.endswith(COUNTER)]
    ways = _ways(found, own, layouts(own), prefix)
    if not ways:
        raise WeightsError(_nothing(found, needed, prefix))
    match = _taken(found, encoder, own, ways)
    if match.found == 0 or not (match.is_whole or partial):
        fits = f"has {match.found} of the {plural(match.total, 'tensor')} of the backbone"
        missing = f"; not in the file: {listed(match.missing)}" if match.missing else ""
        shapes = f"; of another shape: {listed(match.misshapen)}" if match.misshapen else ""
        at = f" (under '{match.place}')" if match.place else ""
        raise WeightsError(f"{fits}{at}{missing}{shapes}")
    if match.whole_numbers:
        raise WeightsError(f"holds whole numbers where weights are needed: {listed(match.whole_numbers)}")
    for name, tensor in match.tensors.items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise WeightsError(f"holds values that are not finite: in '{name}' of the backbone")
    return match


class _Way(NamedTuple):
    """A place and a layout, and under how many names there the backbone has a tensor of the same shape."""

    matches: int
    place: str
    layout: Layout


def _ways(
    found: Mapping[str, Tensor], own: Mapping[str, Tensor], known: Iterable[Layout], prefix: str | None
) -> list[_Way]:
    """The best ways, the preferred one first; all of one layout."""
    ways: list[_Way] = []
    for layout in known:
        counts: Counter[str] = Counter()
        for name, tensor in found.items():
            parts = name.split(".")
            for i in range(len(parts)):
                key = layout.keys.get(".".join(parts[i:]))
                if key is not None and not key.endswith(COUNTER) and own[key].shape == tensor.shape:
                    counts[".".join(parts[:i])] += 1
        ways += [_Way(count, place, layout) for place, count in counts.items() if prefix in (None, place)]
    if not ways:
        return []
    most = max(way.matches for way in ways)
    best = [way for way in ways if way.matches == most]
    return sorted((way for way in best if way.layout is best[0].layout), key=lambda way: _rank(way.place))


def _rank(place: str) -> int:
    words = re.split(r"[._]", place.lower())
    return 0 if any(word in BETTER for word in words) else 2 if any(word in WORSE for word in words) else 1


def _taken(found: Mapping[str, Tensor], encoder: Encoder, own: Mapping[str, Tensor], ways: Sequence[_Way]) -> Match:
    _, place, layout = ways[0]
    before = f"{place}." if place else ""
    there = {name.removeprefix(before): tensor for name, tensor in found.items() if name.startswith(before)}
    given = {layout.keys[name]: tensor for name, tensor in there.items() if name in layout.keys}
    types = sorted(
        {str(tensor.dtype).removeprefix("torch.") for key, tensor in given.items() if tensor.dtype != own[key].dtype}
    )
    whole = [
        f"{key} ({str(tensor.dtype).removeprefix('torch.')})"
        for key, tensor in given.items()
        if own[key].is_floating_point() and not tensor.is_floating_point()
    ]
    given, resampled = _with_positions(given, encoder)
    misshapen = [
        f"{key} ({list(tensor.shape)} instead of {list(own[key].shape)})"
        for key, tensor in given.items()
        if tensor.shape != own[key].shape
    ]
    return Match(
        tensors={key: tensor.to(own[key].dtype) for key, tensor in given.items() if tensor.shape == own[key].shape},
        total=sum(not key.endswith(COUNTER) for key in own),
        place=place,
        layout=layout.name,
        also=tuple(way.place for way in ways[1:]),
        missing=tuple(key for key in own if key not in given and not key.endswith(COUNTER)),
        misshapen=tuple(misshapen),
        left_over=tuple(name for name in there if name not in layout.keys),
        resampled=resampled,
        converted=tuple(types),
        whole_numbers=tuple(whole),
    )


def _with_positions(given: dict[str, Tensor], encoder: Encoder) -> tuple[dict[str, Tensor], str | None]:
    """The tensors with a ViT's learned positions on the encoder's own grid, as timm resamples them; and the grids in words."""
    table, own = given.get(POSITIONS), getattr(encoder.model, POSITIONS, None)
    if encoder.patch_size is None or table is None or own is None or table.ndim != 3 or table.shape[2] != own.shape[2]:
        return given, None
    rows, columns = encoder.model.patch_embed.grid_size
    prefix = own.shape[1] - rows * columns
    if prefix == 0 and REGISTERS in given and TOKEN in given and _is_square(table.shape[1] - 1):
        # DINOv2 with registers adds a position to the class token; timm keeps the sum in the token.
        given = given | {TOKEN: given[TOKEN] + table[:, :1]}
        table = table[:, 1:]
    given = given | {POSITIONS: table}
    side = math.isqrt(max(0, table.shape[1] - prefix))
    if table.shape == own.shape or side * side + prefix != table.shape[1] or side == 0:
        return given, None
    resampled = resample_abs_pos_embed(table, [rows, columns], [side, side], num_prefix_tokens=prefix)
    return given | {POSITIONS: resampled}, f"{side} x {side} to {rows} x {columns} patches"


def _with_split_biases(found: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """The file's tensors with biases as timm's `eva` models have them: of queries and values. DINOv3 masks those of keys."""
    if not any(name.endswith(".attn.q_bias") for name in own):
        return found
    whole = dict(found)
    for name in [name for name in found if name.endswith(".qkv.bias") and f"{name}_mask" in found]:
        before = name.removesuffix("qkv.bias")
        bias = whole.pop(name)
        whole[f"{before}q_bias"], _, whole[f"{before}v_bias"] = bias.chunk(3)
    return whole


def _is_square(number: int) -> bool:
    return number > 0 and math.isqrt(number) ** 2 == number


def load_weights(encoder: Encoder, match: Match) -> None:
    """Put the tensors into `encoder`; what is missing stays as it is."""
    state = encoder.model.state_dict()
    with torch.no_grad():
        for name, tensor in match.tensors.items():
            state[name].copy_(tensor)


def _nothing(found: Mapping[str, Tensor], needed: Sequence[str], prefix: str | None) -> str:
    under = f" under '{prefix}'" if prefix is not None else ""
    return (
        f"has nothing of the backbone{under}, whose tensors are {listed(needed)}; the file's are {listed(list(found))}"
    )


def listed(names: Sequence[str]) -> str:
    """``conv1.weight, bn1.weight and 118 more``."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
