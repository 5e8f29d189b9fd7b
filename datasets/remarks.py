"""What a user should know of prepared images before training on them. Free of torch and pyarrow."""

from collections.abc import Iterator, Sequence

from .contents import ALL_BITS
from .prepared import NAMED, Prepared

MUCH_SMALLER = 2
"""Times that the median shorter side goes into the image size from which on the images count as too small for it."""
MOST, TIMES = 0.5, 1.5
"""A class has too many images if it has more than this share, and more than so many times its equal share."""


def remarks(prepared: Prepared) -> tuple[str, ...]:
    """What is missing, left out or looks wrong, each in a sentence without the data set's name."""
    return (*_on_labels(prepared), *_on_images(prepared))


def _on_labels(prepared: Prepared) -> Iterator[str]:
    if not prepared.classes:
        yield "no labels found: evaluations will be skipped" + "".join(f"; {note}" for note in prepared.notes)
        return
    yield from prepared.notes
    total, test = prepared.train.count + prepared.test.count, prepared.test.count
    counts = dict(
        zip(prepared.classes, zip(prepared.train.class_counts, prepared.test.class_counts, strict=True), strict=True)
    )
    if empty := [name for name, found in counts.items() if not any(found)]:
        yield f"no images in {_named(empty)}"
    if prepared.untaught:
        yield f"{prepared.untaught:,} of {test:,} test images are of classes without a training image"
    if test and (untested := [name for name, (trained, tested) in counts.items() if trained and not tested]):
        yield f"no test images in {_named(untested)}"
    if len(counts) == 1:
        yield f"all images are of one class, '{prepared.classes[0]}': any answer is right"
    largest = max(counts, key=lambda name: sum(counts[name]))
    share = sum(counts[largest]) / max(1, total)
    if len(counts) > 1 and share > max(MOST, TIMES / len(counts)):
        yield f"class '{largest}' has {100 * share:.0f} % of all images: so accurate is a constant answer"


def _on_images(prepared: Prepared) -> Iterator[str]:
    copies, train, test = prepared.copies, prepared.train, prepared.test
    if copies is not None and copies.tested:
        yield f"{copies.tested:,} of {test.count:,} test images are training images too, byte by byte: scores are too high"
    if copies is not None and copies.contradicting:
        yield f"{copies.contradicting:,} images are in several classes, byte by byte"
    if train.shorter_side is not None and MUCH_SMALLER * train.shorter_side < prepared.image_size:
        yield (
            f"half of the training images have a shorter side of {train.shorter_side} pixels or less, and are used at"
            f" {prepared.image_size} (`image_size`)"
        )
    if prepared.gray_bits < ALL_BITS:
        most = (1 << prepared.gray_bits) - 1
        yield f"16-bit gray images have values up to {most:,} ({prepared.gray_bits} bits), which become 0 to 255"
    if prepared.damaged:
        count, where = len(prepared.damaged), prepared.folder / "meta.json"
        yield f"{count:,} damaged image{'s' * (count > 1)} left out, listed in {where}"
    for one in prepared.skipped:
        yield f"skipped {one}"


def _named(classes: Sequence[str]) -> str:
    """``2 classes: cat, dog``."""
    count = len(classes)
    some = ", ".join(classes[:NAMED]) + (", ..." if count > NAMED else "")
    return f"{count:,} class{'es' * (count > 1)}: {some}"
