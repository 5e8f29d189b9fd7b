"""Views on a CPU, one image after the other, compiled by Numba: each image goes through all its steps within the caches.

The same steps as in `resample` and `color`, which are for GPUs. Crops are bit for bit Pillow's up to version 12 (see
`resample`): its filter weights as integers of 22 bits. Nothing here holds the interpreter's lock. The first use on a
machine compiles for some seconds; what is compiled is kept.
"""
# pyright: basic, reportMissingParameterType=false, reportPrivateImportUsage=false, reportAttributeAccessIssue=false
# Numba infers the types.

import atexit
import math
import os
import shutil
import tempfile
from pathlib import Path

import numba
import numpy as np
from numba import njit

if not os.access(Path(__file__).parent, os.W_OK) and not os.access(Path.home(), os.W_OK):
    numba.config.CACHE_DIR = tempfile.mkdtemp(prefix="ssl-sweep-kernels-")  # else Numba refuses to compile at all
    atexit.register(shutil.rmtree, numba.config.CACHE_DIR, ignore_errors=True)

BITS = 22
HALF = 1 << (BITS - 1)
RED, GREEN, BLUE = np.float32(0.2989), np.float32(0.587), np.float32(0.114)
ZERO, ONE = np.float32(0), np.float32(1)
BRIGHTNESS, CONTRAST, SATURATION = 0, 1, 2
FOREGONE = np.float32(1e-8)  # instead of the chroma of gray pixels, which have no hue: any will do

exact = njit(nogil=True, cache=True)
fast = njit(nogil=True, cache=True, fastmath=True, error_model="numpy")


# ---- crop, flip and resize -------------------------------------------------------------------------------------------


@exact
def _weights(first, scale, size, length, support):
    """For results `first` to `first + size`, `scale` apart: their first source pixel, how many there are, and weights."""
    stretch = max(scale, 1.0)
    reach, nearer = support * stretch, 1.0 / stretch
    starts, counts = np.empty(size, np.int64), np.empty(size, np.int64)
    weights = np.empty((size, math.ceil(reach) * 2 + 1), np.int32)
    shares = np.empty(weights.shape[1])
    for i in range(size):
        center = (first + i + 0.5) * scale
        start = max(int(center - reach + 0.5), 0)
        count = min(int(center + reach + 0.5), length) - start
        total = 0.0
        for j in range(count):
            shares[j] = _filter(abs((j + start - center + 0.5) * nearer), support)
            total += shares[j]
        for j in range(count):
            share = shares[j] * (1.0 / total) * (1 << BITS)
            weights[i, j] = int(share - 0.5) if share < 0 else int(share + 0.5)
        starts[i], counts[i] = start, count
    return starts, counts, weights


@exact
def _filter(x, support):
    """The triangle where `support` is 1, else Keys' cubic with a = -0.5."""
    if support == 1.0:
        return max(0.0, 1 - x)
    if x < 1:
        return (1.5 * x - 2.5) * x * x + 1
    return -0.5 * (((x - 5) * x + 8) * x - 4) if x < 2 else 0.0


@exact
def _level(total):
    return min(max(total >> BITS, 0), 255)


@exact
def _resize(image, box, steps, place, size, support, flip, between, out):
    """The `place` (left, top) and `size` of the box x0, y0, x1, y1 resized by `steps` across and down, into (3, size²)."""
    x0, y0 = box[0], box[1]
    width, height = box[2] - x0, box[3] - y0
    across, columns, x_weights = _weights(place[0], steps[0], size, width, support)
    down, rows, y_weights = _weights(place[1], steps[1], size, height, support)
    above, below = down[0], down[size - 1] + rows[size - 1]
    for y in range(above, below):
        reds, greens, blues = image[0, y0 + y, x0:], image[1, y0 + y, x0:], image[2, y0 + y, x0:]
        for i in range(size):
            red, green, blue = np.int32(HALF), np.int32(HALF), np.int32(HALF)
            for j in range(columns[i]):
                source, weight = np.uint64(across[i] + j), x_weights[i, j]  # without a sign: none is looked at
                red += weight * np.int32(reds[source])
                green += weight * np.int32(greens[source])
                blue += weight * np.int32(blues[source])
            to = np.uint64(y * size + (size - 1 - i if flip else i))
            between[0, to], between[1, to], between[2, to] = _level(red), _level(green), _level(blue)
    totals = np.empty(size, np.int32)
    for c in range(3):
        for i in range(size):
            totals[:] = HALF
            for j in range(rows[i]):
                start, weight = (down[i] + j) * size, y_weights[i, j]
                line = between[c, start : start + size]
                for x in range(size):
                    totals[x] += weight * np.int32(line[x])
            line = out[c, i * size : (i + 1) * size]
            for x in range(size):
                line[x] = _level(totals[x])


@njit(
    "void(uint8[:,:,:,:], int64[::1], int64[:,::1], float64[:,::1], int64[:,::1], float64, boolean[::1], int64,"
    " uint8[:,:,::1])",
    nogil=True,
    cache=True,
)
def cut(images, sources, boxes, steps, places, support, flips, size, out):
    """Crops (N, 3, size²) in whole grey levels, each of the one of the images (B, 3, H, W) that `sources` says."""
    between = np.empty((3, images.shape[2] * size), np.uint8)
    for n in range(len(out)):
        _resize(images[sources[n]], boxes[n], steps[n], places[n], size, support, flips[n], between, out[n])


# ---- colours of one image x (3, pixels), float32 in [0, 1], in place -------------------------------------------------


@fast
def _clamp(value):
    return min(max(value, ZERO), ONE)


@fast
def _luma(red, green, blue):
    return RED * red + GREEN * green + BLUE * blue


@fast
def _blend(plane, factor, other):
    for i in range(plane.size):
        plane[i] = _clamp(plane[i] * factor + other)


@fast
def _contrast(x, factor):
    red, green, blue = x[0], x[1], x[2]
    total = ZERO
    for i in range(red.size):
        total += _luma(red[i], green[i], blue[i])
    mean = total / np.float32(red.size)
    for c in range(3):
        _blend(x[c], factor, (ONE - factor) * mean)


@fast
def _saturation(x, factor):
    red, green, blue = x[0], x[1], x[2]
    for i in range(red.size):
        other = (ONE - factor) * _luma(red[i], green[i], blue[i])
        red[i] = _clamp(red[i] * factor + other)
        green[i] = _clamp(green[i] * factor + other)
        blue[i] = _clamp(blue[i] * factor + other)


@fast
def _channel(value, chroma, angle, opposite):
    turns = angle - opposite
    distance = abs(turns - np.float32(math.floor(turns + np.float32(0.5))))
    return value - chroma * _clamp(np.float32(2) - np.float32(6) * distance)


@fast
def _hue(x, turns):
    """In the closed form of `color.hue`."""
    red, green, blue = x[0], x[1], x[2]
    for i in range(red.size):
        r, g, b = red[i], green[i], blue[i]
        value, least = max(max(r, g), b), min(min(r, g), b)
        chroma = value - least
        angle = (value - np.float32(2) * least + g + b - r) / (np.float32(6) * max(chroma, FOREGONE))
        angle = (angle if g >= b else -angle) + turns
        red[i] = _channel(value, chroma, angle, np.float32(3 / 6))
        green[i] = _channel(value, chroma, angle, np.float32(5 / 6))
        blue[i] = _channel(value, chroma, angle, np.float32(1 / 6))


@fast
def _gray(x):
    red, green, blue = x[0], x[1], x[2]
    for i in range(red.size):
        red[i] = _luma(red[i], green[i], blue[i])
    green[:] = red
    blue[:] = red


@fast
def _solarize(x, threshold):
    for c in range(3):
        plane = x[c]
        for i in range(plane.size):
            plane[i] = ONE - plane[i] if plane[i] >= threshold else plane[i]


@fast
def _box_across(lines, out, taps, size):
    """A box filter along the lines, which go on at their ends as they end."""
    reach = taps.size // 2
    for start in range(0, size * size, size):
        line, blurred = lines[start : start + size], out[start : start + size]
        for i in range(size):
            blurred[i] = taps[reach] * line[i]
        for k in range(1, reach + 1):
            tap, beyond = taps[reach + k], min(k, size)
            right, behind, ahead = blurred[beyond:], line[: size - beyond], line[beyond:]
            for i in range(size - beyond):
                right[i] += tap * behind[i]
            for i in range(size - beyond):
                blurred[i] += tap * ahead[i]
            for i in range(beyond):
                blurred[i] += tap * line[0]
                blurred[size - 1 - i] += tap * line[size - 1]


@fast
def _box_down(lines, out, taps, size):
    reach = taps.size // 2
    for y in range(size):
        line, blurred = lines[y * size : (y + 1) * size], out[y * size : (y + 1) * size]
        for i in range(size):
            blurred[i] = taps[reach] * line[i]
        for k in range(1, reach + 1):
            tap, first, last = taps[reach + k], max(y - k, 0) * size, min(y + k, size - 1) * size
            above, below = lines[first : first + size], lines[last : last + size]
            for i in range(size):
                blurred[i] += tap * (above[i] + below[i])


@fast
def _blur(x, taps, size, between):
    for c in range(3):
        plane = x[c]
        _box_across(plane, between, taps, size)
        _box_across(between, plane, taps, size)
        _box_across(plane, between, taps, size)
        _box_down(between, plane, taps, size)
        _box_down(plane, between, taps, size)
        _box_down(between, plane, taps, size)


@fast
def _jitter(x, factors, order):
    for operation in order:
        factor = factors[operation]
        if operation == BRIGHTNESS:
            for c in range(3):
                _blend(x[c], factor, ZERO)
        elif operation == CONTRAST:
            _contrast(x, factor)
        elif operation == SATURATION:
            _saturation(x, factor)
        else:
            _hue(x, factor)


@njit(
    "void(uint8[:,:,::1], boolean[::1], float32[:,::1], int64[:,::1], boolean[::1], boolean[::1], float32[:,::1],"
    " boolean[::1], float32, boolean, float32[::1], float32[::1], int64, float32[:,:,::1])",
    nogil=True,
    cache=True,
    fastmath=True,
    error_model="numpy",
)
def finish(levels, jitter, factors, order, gray, blur, taps, solarize, threshold, solarize_first, mean, std, size, out):
    """Views (N, 3, size²) from their grey levels. The tables are (N,), or (N, 4) and (N, taps)."""
    between = np.empty(size * size, np.float32)
    for n in range(len(out)):
        x = out[n]
        for c in range(3):
            plane, source = x[c], levels[n, c]
            for i in range(plane.size):
                plane[i] = np.float32(source[i]) / np.float32(255)
        if jitter[n]:
            _jitter(x, factors[n], order[n])
        if gray[n]:
            _gray(x)
        if solarize[n] and solarize_first:
            _solarize(x, threshold)
        if blur[n]:
            _blur(x, taps[n], size, between)
        if solarize[n] and not solarize_first:
            _solarize(x, threshold)
        for c in range(3):
            plane = x[c]
            for i in range(plane.size):
                plane[i] = (plane[i] - mean[c]) / std[c]
