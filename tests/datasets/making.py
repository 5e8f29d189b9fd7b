"""Small data sets in the forms that users have, and their configs."""

import io
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from ssl_sweep.datasets import DatasetConfig

COLORS = {"blue": (20, 40, 220), "green": (30, 200, 40), "red": (230, 30, 10)}


def encoded(color: tuple[int, int, int], size: tuple[int, int] = (12, 10), kind: str = "PNG", seed: int = 0) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 20, (size[1], size[0], 3))
    stream = io.BytesIO()
    Image.fromarray((np.array(color) + noise).clip(0, 255).astype(np.uint8)).save(stream, kind)
    return stream.getvalue()


def write_folder(path: Path, images: int = 10, sizes: tuple[tuple[int, int], ...] = ((12, 10),)) -> Path:
    """`images` of each class, in the sizes (width, height) by turns."""
    for label, (name, color) in enumerate(COLORS.items()):
        (path / name).mkdir(parents=True)
        for i in range(images):
            (path / name / f"{i}.png").write_bytes(encoded(color, sizes[i % len(sizes)], seed=100 * label + i))
    return path


def write_cifar(path: Path, images: int = 20) -> np.ndarray:
    """Five training batches and a test batch as the official ones; returns the pixels of the first (N, 3, 32, 32)."""
    path.mkdir()
    generator = np.random.default_rng(0)
    data = generator.integers(0, 256, (6, images, 3072), dtype=np.uint8)
    for name, pixels in zip([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"], data, strict=True):
        batch = {b"data": pixels, b"labels": [i % 10 for i in range(images)]}
        (path / name).write_bytes(pickle.dumps(batch, protocol=2))
    return data[0].reshape(-1, 3, 32, 32)


def write_parquet(file: Path, labels: list[object], column: str = "image", nested: bool = True) -> None:
    images = [encoded((10 * i % 200, 50, 90), seed=i) for i in range(len(labels))]
    values = pa.array([{"bytes": image, "path": None} for image in images]) if nested else pa.array(images)
    pq.write_table(pa.table({column: values, "label": pa.array(labels)}), file, row_group_size=4)


def digits_config(**settings: object) -> DatasetConfig:
    return DatasetConfig.model_validate({"name": "digits", **settings})


def folder_config(path: Path, **settings: object) -> DatasetConfig:
    return DatasetConfig.model_validate({"name": "folder", "path": str(path), **settings})
