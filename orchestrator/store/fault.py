"""What can end an attempt at a trial: one set of words for workers, engine, driver, status and report."""

from enum import StrEnum


class Fault(StrEnum):
    WORKER_DIED = "worker died"
    """Its process ended: a signal, a crash in native code."""
    NODE_LOST = "node lost"
    PREEMPTED = "preempted"
    """The node was taken back by its provider."""
    ENGINE_LOST = "Ray lost"
    """A part of Ray ended that all trials need, as its head."""
    HUNG = "hung"
    """A worker gave no sign of life, or none of the workers made progress."""
    OUT_OF_MEMORY = "out of memory"
    """Of the machine."""
    OUT_OF_GPU_MEMORY = "out of GPU memory"
    DIVERGED = "diverged"
    """A loss, weights, features or a score are not finite, or the features have collapsed."""
    CODE_ERROR = "error"
    EVALUATION = "evaluation failed"
    """Of one or more evaluations; all else that was asked of the trial is done."""
    DATA_ERROR = "data error"
    """The images are not those that the sweep was planned with, or cannot be read."""
    STORE_ERROR = "store error"
    STORE_FULL = "store full"
    """The store is full or read-only: nothing that any trial does can be kept."""
