"""SimCLR's views on a CPU: ours, in batches, against torchvision's transforms on Pillow images, one by one.

    python benchmarks/views.py --size 32 --threads 1

prints images/s (two views each) of both, the best of many runs by turns, and their ratio. The transforms are those of
Lightly's SimCLR: crop, flip, jitter (0.8, 0.8, 0.8, 0.2) with p = 0.8, gray with 0.2, Pillow's blur with 0.5. Images are
random, and decoding is not timed.
"""

import argparse
import random
import time
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageFilter
from ssl_sweep.datasets.views import MEAN, STD, Images, make_views
from ssl_sweep.methods.config import ViewConfig, ViewsConfig
from torchvision.transforms import v2


def blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(random.uniform(0.1, 2.0)))


def reference(size: int) -> v2.Compose:
    """The pipeline that most code bases have, for one Pillow image."""
    return v2.Compose(
        [
            v2.RandomResizedCrop(size, antialias=True),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.ColorJitter(0.8, 0.8, 0.8, 0.2)], p=0.8),
            v2.RandomGrayscale(0.2),
            v2.RandomApply([v2.Lambda(blur)], p=0.5),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )


def fastest(work: Callable[[], object], images: int) -> float:
    """Images per second in the fastest of a few runs in a row: what else the machine does makes others slower."""
    times: list[float] = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return images / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=32, help="pixels of the views")
    parser.add_argument("--source", type=int, help="pixels of the images; default: those of the views")
    parser.add_argument("--threads", type=int, default=1, help="of torch; the reference always has one")
    parser.add_argument("--batch", type=int, default=512)
    parser.add_argument("--seconds", type=float, default=10.0, help="in all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    source, batch = arguments.source or arguments.size, arguments.batch
    pixels = np.random.default_rng(0).integers(0, 256, (batch, source, source, 3), dtype=np.uint8)

    pictures = [Image.fromarray(image) for image in pixels[:64]]
    transform = reference(arguments.size)
    images = Images(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous())
    views = ViewsConfig(global_views=(ViewConfig(count=2),))
    labels, samples = torch.zeros(batch, dtype=torch.int64), torch.arange(batch)

    def ours() -> object:
        return make_views(images, labels, views, arguments.size, seed=0, epoch=0, samples=samples)

    def theirs() -> object:
        return [transform(picture) for picture in pictures for _ in range(2)]

    ours_rate = theirs_rate = 0.0
    end = time.perf_counter() + arguments.seconds
    while time.perf_counter() < end:  # by turns, so that both meet the same machine
        ours_rate = max(ours_rate, fastest(ours, batch))
        theirs_rate = max(theirs_rate, fastest(theirs, len(pictures)))
    print(f"torchvision on Pillow images: {theirs_rate:,.0f} images/s (two views each), 1 thread")
    print(f"ssl_sweep.datasets.views:     {ours_rate:,.0f} images/s (two views each), {arguments.threads} thread(s)")
    print(f"ratio: {ours_rate / theirs_rate:.1f}")


if __name__ == "__main__":
    main()
