"""Data sets to damage, ways to do so, and what has to hold then."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image
from reading import pixels_of, same
from ssl_sweep.datasets import DatasetConfig
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.datasets.prepared import Prepared, find_known, find_prepared
from torch import Tensor

DIGITS = DatasetConfig(name="digits", train_images=100, test_images=20)
IMAGES, SHARD = 40, 8


def encoded(seed: int, kind: str) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (8 + seed % 3, 9, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, kind)
    return stream.getvalue()


def images_of(path: Path, kind: str) -> DatasetConfig:
    """Images of three sizes and two classes, one of them unreadable: they are stored encoded."""
    for i in range(IMAGES):
        file = path / "train" / "ab"[i % 2] / f"{i:02}.{kind.lower()}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"no image" if i == 6 else encoded(i, kind))
    return DatasetConfig(name="folder", path=str(path), image_size=8, damaged="skip")


def overwrite(file: Path, content: bytes) -> None:
    """Another file of the same name: whoever has mapped the old one still sees that."""
    file.with_suffix(".new").write_bytes(content)
    file.with_suffix(".new").replace(file)


def flip(file: Path, position: int, bit: int = 0) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    overwrite(file, bytes(content))


def place_of(file: Path, content: bytes) -> int:
    place = file.read_bytes().index(content)
    return place + len(content) // 2


def first_pixels(file: Path) -> bytes:
    return table_of(file)["image"][0].as_py()


def first_labels(file: Path) -> bytes:
    labels = table_of(file)["label"].to_numpy()
    return labels.astype("<i8").tobytes()


def table_of(file: Path) -> pa.Table:
    return pa.ipc.open_file(file.read_bytes()).read_all()


def everything(prepared: Prepared) -> tuple[list[Tensor], list[Tensor]]:
    sets = [ImageSet.open(prepared, split) for split in ("train", "test")]
    return [pixel for images in sets for pixel in pixels_of(images)], [images.labels for images in sets]


def is_put_right(
    config: DatasetConfig, root: Path, whole: Prepared, content: tuple[list[Tensor], list[Tensor]]
) -> None:
    """What was found to be damaged is not used again, and preparing gives what there was."""
    assert find_prepared(config, root) is None
    assert find_known(config, whole.fingerprint, root) is None
    again = prepare(config, root)
    assert again.fingerprint == whole.fingerprint
    assert [entry.name for entry in root.iterdir()] == [again.folder.name]
    assert all(same(*parts) for parts in zip(everything(again), content, strict=True))


def lines(prepared: Prepared) -> list[Path]:
    return [prepared.folder / "meta.json", *prepared.checksums]


def cut(share: float) -> Callable[[Path], None]:
    return lambda file: overwrite(file, file.read_bytes()[: int(share * file.stat().st_size)])


def zero_end(file: Path) -> None:
    content = file.read_bytes()
    overwrite(file, content[: len(content) // 2] + bytes(len(content) - len(content) // 2))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "missing": lambda file: file.unlink(),
    "empty": cut(0),
    "cut in half": cut(0.5),
    "cut at the end": cut(0.999),
    "zeros after a power cut": zero_end,
    "a list": lambda file: overwrite(file, b"[1, 2]"),
    "no text": lambda file: overwrite(file, b"\xff\xfe" * 40),
}
