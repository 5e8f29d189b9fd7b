"""Files with weights: where they are, and all tensors in them by name. Whatever else a checkpoint holds is not looked at."""

import io
import pickle
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (".safetensors", ".pt", ".pth", ".pth.tar", ".ckpt", ".bin")
PREFERRED = "model.safetensors"
"""Of a folder with several, as Hugging Face's."""
WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Names that torch.compile, FSDP and activation checkpointing put into the keys of what they wrap."""

ZIP, PICKLE, TAR = b"PK\x03\x04", b"\x80", b"ustar"
"""What files of `torch.save` begin with, of before torch 1.6 too; the last in its oldest files, after 257 bytes."""

UNREADABLE = (pickle.UnpicklingError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, EOFError, OSError)
"""What torch raises for content that is damaged, or is none of its own."""


class WeightsError(ValueError):
    """Weights cannot be used; the message says why, in words that follow the name of their file."""


def find_file(place: Path) -> Path:
    """The file that `place` is, or the only one with weights in this folder.

    Raises:
        WeightsError: there is none, or there are several.
    """
    try:
        if not place.is_dir():
            if not place.exists():
                raise WeightsError("does not exist")
            if not place.name.endswith(SUFFIXES):
                raise WeightsError(f"must be a folder, or end in {', '.join(SUFFIXES)}")
            with place.open("rb"):
                return place
        names = sorted(path.name for path in place.iterdir() if path.name.endswith(SUFFIXES) and path.is_file())
    except OSError as error:
        raise WeightsError(f"cannot be read: {error.strerror}") from None
    if PREFERRED in names or len(names) == 1:
        return place / (PREFERRED if PREFERRED in names else names[0])
    held = f"has {len(names)} of them: {', '.join(names[:5])}{', ...' * (len(names) > 5)}" if names else "has none"
    raise WeightsError(f"must be a folder with one file of weights ({', '.join(SUFFIXES)}), but {held}")


def tensors_in(content: bytes) -> "dict[str, Tensor]":
    """All tensors of a file by their dotted names, as ``state_dict.module.encoder_q.conv1.weight``, on the CPU.

    Args:
        content: a safetensors file, or what `torch.save` wrote. Of the latter nothing is run (``weights_only=True``).

    Raises:
        WeightsError: it is neither, is damaged, or has no tensors.
    """
    import safetensors
    import safetensors.torch
    import torch

    if not content.startswith((ZIP, PICKLE)) and not _is_safetensors(content) and content[257:262] != TAR:
        raise WeightsError(f"is {_kind(content)}; what is needed is a safetensors file, or what torch.save wrote")
    try:
        loaded = safetensors.torch.load(content) if _is_safetensors(content) else _unpickled(content)
    except (*UNREADABLE, safetensors.SafetensorError) as error:
        raise WeightsError(f"cannot be read as safetensors or a PyTorch checkpoint: {_reason(error)}") from None
    found = dict(_flat(loaded)) if isinstance(loaded, dict) else {}
    if not found:
        raise WeightsError(
            "holds no tensors by name; what is needed is a state_dict, as torch.save(model.state_dict(), file) writes it"
        )
    return {name: tensor for name, tensor in found.items() if tensor.layout == torch.strided}


def _is_safetensors(content: bytes) -> bool:
    """Eight bytes with the length of a JSON object, and that object."""
    return content[8:9] == b"{"


def _kind(content: bytes) -> str:
    """What a file without weights is, in words."""
    if not content:
        return "empty"
    start = content[:512]
    if start.startswith(b"version https://git-lfs"):
        return "a pointer of Git LFS, and not the file that it stands for"
    text = start.decode("utf-8", "ignore")
    if not text.isprintable() and any(not (char.isprintable() or char.isspace()) for char in text):
        return "no file of weights"
    return "a web page" if text.lstrip().lower().startswith(("<!doctype", "<html")) else "a text file"


class _Unread:
    """In the place of a class that torch does not vouch for, as of the settings in a checkpoint of Lightning's: makes empty dicts."""

    def __new__(cls, *_args: object) -> Any:
        return OrderedDict()  # of the few types into which torch puts items and attributes


def _unpickled(content: bytes) -> object:
    import numpy as np
    import torch
    from numpy._core.multiarray import scalar  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
    from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

    numbers: list[Any] = [np.dtype, *(getattr(np.dtypes, name) for name in np.dtypes.__all__)]
    numbers += [(scalar, "numpy._core.multiarray.scalar"), (scalar, "numpy.core.multiarray.scalar")]
    with safe_globals(numbers):
        try:
            foreign = get_unsafe_globals_in_checkpoint(io.BytesIO(content))
        except ValueError:  # of torch before 1.6, or no checkpoint
            foreign = ["argparse.Namespace"]
    stand_ins: list[Any] = [*numbers, *((_Unread, name) for name in foreign)]
    with safe_globals(stand_ins):
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def _reason(error: Exception) -> str:
    """One line; torch's own words are in the midst of advice."""
    if isinstance(error, (EOFError, KeyError)):  # of Python's own unpickler, with no words that say anything
        return "it is cut short or damaged"
    lines = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
    told = [line.partition("WeightsUnpickler error: ")[2] for line in lines if "WeightsUnpickler error: " in line]
    return (told or lines)[0]


def _flat(value: dict[Any, Any], before: str = "") -> "Iterator[tuple[str, Tensor]]":
    """Tensors in nested mappings; those under keys that are no names, as an optimizer's, are left out."""
    from torch import Tensor

    for key, item in value.items():
        if not isinstance(key, str):
            continue
        name = f"{before}{key}"
        if isinstance(item, Tensor):
            yield ".".join(part for part in name.split(".") if part not in WRAPPERS), item.detach()
        elif isinstance(item, dict):
            yield from _flat(item, f"{name}.")
