"""Our own data sets, described apart from their sources: these import NumPy, and sweep files validate quickly without it."""

from .registry import Dataset

SOURCES = __package__

DIGITS = Dataset(
    name="digits",
    description="1,797 handwritten digits of scikit-learn, 8x8; nothing to download",
    image_size=16,
    open=f"{SOURCES}.digits_source:digits",
)

CIFAR10 = Dataset(
    name="cifar10",
    description="60,000 images of 10 classes, 32x32; official python batches, Parquet, or downloaded",
    image_size=32,
    open=f"{SOURCES}.cifar10_source:cifar10",
    published=(50_000, 10_000),
)

IMAGENETTE = Dataset(
    name="imagenette",
    description="13,394 images of 10 ImageNet classes; the 160 px folder or .tgz, or downloaded",
    image_size=128,
    open=f"{SOURCES}.imagenette_source:imagenette",
    published=(9_469, 3_925),
)

IMAGENET100 = Dataset(
    name="imagenet100",
    description="100 classes of ImageNet-1k; the folder of ImageNet-1k, or of these classes, with train/ and val/",
    image_size=224,
    open=f"{SOURCES}.imagenet_source:imagenet100",
    needs_path=True,
    published=(126_689, 5_000),
)

IMAGENET1K = Dataset(
    name="imagenet1k",
    description="1.3 million images of 1,000 classes; a folder with train/ and val/ (flat, with its synset file), or Parquet",
    image_size=224,
    open=f"{SOURCES}.imagenet_source:imagenet1k",
    needs_path=True,
    published=(1_281_167, 50_000),
)

FOLDER = Dataset(
    name="folder",
    description="images in class folders, under train/ and val/ or test/ where there are such",
    image_size=224,
    open=f"{SOURCES}.folder_source:folder",
    needs_path=True,
    named_by_path=True,
    reading=1,  # no hidden files at any depth, no folder twice through a link to itself, .jfif and .avif
)

PARQUET = Dataset(
    name="parquet",
    description="Parquet files with columns `image` or `img`, and `label`, as on the Hugging Face hub, or `columns`",
    image_size=224,
    open=f"{SOURCES}.parquet_source:parquet",
    needs_path=True,
    named_by_path=True,
)

LIST = Dataset(
    name="list",
    description="a CSV or JSON lines file with `path`, `label` and, if wanted, `split`; paths relative to the file",
    image_size=224,
    open=f"{SOURCES}.list_source:listed",
    needs_path=True,
    named_by_path=True,
)

HUGGINGFACE = Dataset(
    name="huggingface",
    description="a folder that `save_to_disk` of Hugging Face's datasets wrote",
    image_size=224,
    open=f"{SOURCES}.huggingface_source:saved",
    needs_path=True,
    named_by_path=True,
)

TORCHVISION_CLASS = Dataset(
    name="torchvision",
    description="a class of torchvision.datasets, as `torchvision.CIFAR100`; its files, or downloaded",
    image_size=224,  # classes have sizes of their own, in torchvision_classes.py
    open=f"{SOURCES}.torchvision_source:torchvision_class",
)
