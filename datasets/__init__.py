"""Images: sources, the Arrow store, and views made in batches on the device.

Importing this package does not import torch: a sweep file is checked with the configuration alone.
"""

from .config import DatasetConfig
from .errors import DataError

DATASETS = {
    "digits": "1,797 handwritten digits of scikit-learn, 8x8; nothing to download",
    "cifar10": "60,000 images of 10 classes, 32x32; official python batches, Parquet, or downloaded",
    "imagenette": "13,394 images of 10 ImageNet classes; the 160 px folder or .tgz, or downloaded",
    "imagenet100": "100 classes of ImageNet-1k; the folder of ImageNet-1k, or of these classes, with train/ and val/",
    "imagenet1k": "1.3 million images of 1,000 classes; a folder with train/ and val/ (flat, with its synset file), or Parquet",
    "folder": "images in class folders, under train/ and val/ or test/ where there are such",
    "parquet": "Parquet files with columns `image` or `img`, and `label`, as on the Hugging Face hub",
    "torchvision": "a class of torchvision.datasets, as `torchvision.CIFAR100`; its files, or downloaded",
}
"""Every data set by name, with one line about it."""

__all__ = ["DATASETS", "DataError", "DatasetConfig"]
