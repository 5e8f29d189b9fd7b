"""Views made by this project, by Lightly's transforms, and by torchvision's on Pillow images as solo-learn uses them.

    pip install -e '.[peers]'
    python benchmarks/views.py --cifar10 PATH --imagenette PATH --imagenet PATH

Three settings, each from the images of a folder, a tar archive or Parquet files, or from made-up ones where none is given:

    32     views of 32 pixels; images are in memory, decoded, for all
    128    views of 128 pixels; the peers once from decoded images, once from JPEGs, as they come from a folder of files
    224    views of 224 pixels from JPEGs, decoded by all at each use

Each contender makes the views of SimCLR, BYOL and DINO (2 + 6 crops) with the same settings in one thread; ours is the path
that training takes. They work by turns, so that all meet the same machine, and the best turn of each counts. Images/s is of
images with all their views.
"""

import argparse
import io
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from lightly.transforms import BYOLTransform, DINOTransform, SimCLRTransform
from lightly.transforms.byol_transform import BYOLView1Transform, BYOLView2Transform
from PIL import Image
from ssl_sweep.datasets.batches import training_batches
from ssl_sweep.datasets.config import DatasetConfig
from ssl_sweep.datasets.image_set import ImageSet
from ssl_sweep.datasets.prepare import prepare
from ssl_sweep.methods.config import ViewsConfig
from ssl_sweep.methods.view_presets import byol_views, dino_views, simclr_views
from torchvision_views import torchvision_views

BATCHES = {32: 256, 128: 64, 224: 64}
"""Images that are delivered together, as one tensor a view, by size."""

LOCAL_CROPS = 6
Transform = Callable[[Image.Image], list[torch.Tensor]]
METHODS: dict[str, ViewsConfig] = {
    "simclr": simclr_views(),
    "byol": byol_views(),
    "dino": dino_views(local_count=LOCAL_CROPS),
}


class Setting(NamedTuple):
    size: int
    images: list[bytes]  # as they are stored
    decoded: bool  # peers get Pillow images; else the stored bytes

    @property
    def name(self) -> str:
        return f"{self.size} px, {'decoded' if self.decoded else 'from files'}"


def lightly_transform(method: str, size: int) -> Transform:
    if method == "simclr":
        return SimCLRTransform(input_size=size)
    if method == "byol":
        return BYOLTransform(BYOLView1Transform(input_size=size), BYOLView2Transform(input_size=size))
    local = METHODS["dino"].local_views[0].pixels(size)
    return DINOTransform(global_crop_size=size, local_crop_size=local, n_local_views=LOCAL_CROPS)


def stored_images(path: Path | None, count: int, size: int) -> list[bytes]:
    """The first `count` images of a tar archive, a folder, or Parquet; without a path, made-up JPEGs of `size` pixels."""
    if path is None:
        return [_made_up(i, size) for i in range(count)]
    found = list(islice(_read(path), count))
    if not found:
        raise SystemExit(f"{path} holds no images")
    return found


def _read(path: Path) -> Iterator[bytes]:
    if path.is_file() and tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.name.lower().endswith((".jpeg", ".jpg", ".png")) else None
                if file is not None:
                    yield file.read()
    elif parquet := [path] if path.suffix == ".parquet" else sorted(path.glob("train*.parquet")):
        for batch in pq.ParquetFile(parquet[0]).iter_batches(batch_size=256):
            yield from (row["bytes"] for row in batch.column(0).to_pylist())
    else:
        files = (file for file in sorted(path.rglob("*")) if file.suffix.lower() in (".jpeg", ".jpg", ".png"))
        yield from (file.read_bytes() for file in files)


def _made_up(seed: int, size: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(noise).resize((size, size), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
    return out.getvalue()


def decoded(image: bytes) -> Image.Image:
    with Image.open(io.BytesIO(image)) as opened:
        return opened.convert("RGB")


def our_images(setting: Setting, folder: Path, device: str) -> ImageSet:
    """The images prepared as a user's folder is; one more stands in for a test set."""
    for split, images in (("train", setting.images), ("test", setting.images[:1])):
        for number, image in enumerate(images):
            file = folder / "images" / split / "a" / f"{number}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(image)
    config = DatasetConfig(name="folder", path=str(folder / "images"), image_size=setting.size)
    return ImageSet.open(prepare(config, folder / "data"), "train", device=device)


def our_turn(images: ImageSet, views: ViewsConfig, size: int) -> Callable[[float], float]:
    """Images per second of a turn of so many seconds."""
    batches = training_batches(
        images, views, size, seed=0, batch_size=min(BATCHES[size], len(images)), total_steps=1 << 30
    )
    next(batches)

    def turn(seconds: float) -> float:
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            done += len(next(batches).labels)
        if images.device.type == "cuda":
            torch.cuda.synchronize()
        return done / (time.perf_counter() - start)

    return turn


def their_turn(setting: Setting, transform: Transform) -> Callable[[float], float]:
    pictures = [decoded(image) for image in setting.images] if setting.decoded else []
    number = 0

    def turn(seconds: float) -> float:
        nonlocal number
        done, start = 0, time.perf_counter()
        while time.perf_counter() - start < seconds:
            rows: list[list[torch.Tensor]] = []
            for _ in range(BATCHES[setting.size]):
                number = (number + 1) % len(setting.images)
                rows.append(transform(pictures[number] if setting.decoded else decoded(setting.images[number])))
            for view in zip(*rows, strict=True):
                torch.stack(view)
            done += len(rows)
        return done / (time.perf_counter() - start)

    return turn


def race(setting: Setting, seconds: float, device: str) -> Iterator[str]:
    """A row of the table for each method."""
    with tempfile.TemporaryDirectory() as folder:
        images = our_images(setting, Path(folder), device)
        for method, views in METHODS.items():
            turns = {
                "ssl-sweep": our_turn(images, views, setting.size),
                "lightly": their_turn(setting, lightly_transform(method, setting.size)),
                "torchvision": their_turn(setting, torchvision_views(views, setting.size)),
            }
            best = dict.fromkeys(turns, 0.0)
            end = time.perf_counter() + seconds
            while time.perf_counter() < end:
                for name, turn in turns.items():
                    best[name] = max(best[name], turn(0.5))
            ours = best["ssl-sweep"]
            rates = " | ".join(f"{rate:,.0f}" for rate in best.values())
            yield (
                f"| {setting.name} | {method} | {rates} | {ours / best['lightly']:.1f} | {ours / best['torchvision']:.1f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", type=Path, help="images for 32 pixels")
    parser.add_argument("--imagenette", type=Path, help="images for 128 pixels")
    parser.add_argument("--imagenet", type=Path, help="images for 224 pixels")
    parser.add_argument("--images", type=int, default=512, help="of each setting")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each setting and method")
    parser.add_argument("--sizes", type=int, nargs="*", default=[32, 128, 224])
    parser.add_argument("--device", default="cpu", help="of our views; the peers' are always made on the CPU")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    small = stored_images(arguments.cifar10, arguments.images, 32)
    middle = stored_images(arguments.imagenette, arguments.images, 160)
    large = stored_images(arguments.imagenet, arguments.images, 400)
    settings = [
        Setting(32, small, True),
        Setting(128, middle, True),
        Setting(128, middle, False),
        Setting(224, large, False),
    ]
    print("| setting | views of | images/s, ssl-sweep | Lightly | torchvision | ratio to Lightly | to torchvision |")
    print("|---|---|--:|--:|--:|--:|--:|")
    for setting in settings:
        if setting.size in arguments.sizes:
            for row in race(setting, arguments.seconds, arguments.device):
                print(row, flush=True)


if __name__ == "__main__":
    main()
