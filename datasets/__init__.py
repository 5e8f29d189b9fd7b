"""Images: sources, the Arrow store, and views made in batches on the device.

Importing this package does not import torch: a sweep file is checked with the configuration alone.
"""

from .config import DatasetConfig
from .errors import DataError
from .registry import DATASETS, Dataset

__all__ = ["DATASETS", "DataError", "Dataset", "DatasetConfig"]
