"""What an exception says of a trial: which fault it is, in which words, and whether the trial can go on without what raised it."""

import torch

from ...datasets.errors import DataError
from ...evaluation.task import FeaturesNotFinite, NotFinite, Refused
from ..store.fault import Fault
from ..store.files import StoreError
from .runtime import Runtime

LONGEST = 300
"""Characters of a foreign message that are shown."""


def fault_of(error: Exception) -> Fault:
    """What kind of fault an error of a trial is."""
    match error:
        case StoreError():
            return error.fault
        case DataError():
            return Fault.DATA_ERROR
        case NotFinite():
            return Fault.DIVERGED
        case torch.OutOfMemoryError():
            return Fault.OUT_OF_GPU_MEMORY
        case RuntimeError() if "CUDA" in str(error) and "out of memory" in str(error):  # of a library below torch
            return Fault.OUT_OF_GPU_MEMORY
        case MemoryError():
            return Fault.OUT_OF_MEMORY
        case RuntimeError() if "can't allocate memory" in str(error):  # torch's words on a CPU
            return Fault.OUT_OF_MEMORY
        case _:
            return Fault.CODE_ERROR


def is_in_words(error: Exception) -> bool:
    """Whether its message is a whole sentence for the user, which needs no traceback."""
    return isinstance(error, (DataError, StoreError, Refused, NotFinite))


def reason_of(error: Exception) -> str:
    """Its message; of a foreign one a line, with its type."""
    if is_in_words(error):
        return str(error)
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:LONGEST]}" if text else type(error).__name__


def is_of_evaluation_alone(error: Exception, runtime: Runtime) -> bool:
    """Whether a trial may go on with its other evaluations after one of them raised `error`; all ranks answer alike.

    Several ranks go on only after what all of them raise at the same place: of any other error the others may know nothing,
    and wait for this rank in the middle of the evaluation.
    """
    if isinstance(error, FeaturesNotFinite):
        return False
    if isinstance(error, (Refused, NotFinite)):
        return True
    alone = runtime.world_size == 1 and fault_of(error) in (Fault.CODE_ERROR, Fault.DATA_ERROR)
    return alone and _works(runtime.device)


def _works(device: torch.device) -> bool:
    """Whether a device can still be used: a failed assertion in a kernel leaves a GPU's process of no use."""
    try:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    except RuntimeError:
        return False
    return True
