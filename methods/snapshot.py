"""The state of a training as it was at one moment, in the CPU's memory, to be written while the training goes on."""

import io
from collections.abc import Mapping

import torch
from torch import Tensor


class Snapshot:
    """A copy of nested dicts, lists and tuples of tensors and plain values: what `torch.save` keeps of a training."""

    def __init__(self, state: Mapping[str, object]):
        """Copies; returns once no later change of `state` can reach the copy. Tensors that share memory share it again."""
        self._state: object = _copied(state, {})

    def to_bytes(self, header: bytes = b"") -> bytes:
        """`header`, and then the state as `torch.save` writes it. Once only: it frees the copy."""
        state, self._state = self._state, None
        assert state is not None, "a snapshot is written once"
        content = io.BytesIO(header)
        content.seek(len(header))
        torch.save(state, content)
        return content.getvalue()


def _copied(value: object, seen: dict[tuple[object, ...], Tensor]) -> object:
    """`value` with copies of its tensors on the CPU; `seen` are the copies so far, by the memory that they are of."""
    if isinstance(value, Tensor):
        memory = (value.device, value.data_ptr(), value.dtype, value.shape, value.stride())
        if not value.numel() or memory not in seen:
            seen[memory] = value.detach().to("cpu", copy=True)
        return seen[memory]
    if isinstance(value, dict):
        copy = type(value)((key, _copied(item, seen)) for key, item in value.items())
        vars_of = getattr(value, "__dict__", None)
        if vars_of:  # a module's state_dict has the versions of its modules there
            copy.__dict__.update(vars_of)
        return copy
    if isinstance(value, (list, tuple)):
        return type(value)([_copied(item, seen) for item in value])
    return value
