"""How large the strokes of one painting are beside those of another.

Both are paintings of pink noise, which has the same power in every octave: it looks alike at any size, so that whatever size
there is in the painting is the net's own. (On a blurred image the nets paint hardly any strokes, and on a photograph the
photograph's own sizes show.)
"""

from __future__ import annotations

import cv2
import numpy as np

from vidstyle.core.frames import Pixels

SIZE = (640, 360)
WAVELENGTHS = (2.0, 128.0)
"""Pixels, the range that is looked at."""
BINS = 6
"""Of an octave."""
FARTHEST = 2 * BINS
"""Strokes may have grown or shrunk by two octaves."""


def pink_noise(seed: int) -> Pixels:
    """A grey image uint8 (360, 640, 3) whose power falls with the square of the frequency."""
    width, height = SIZE
    frequency = _frequency(height, width)
    kept = frequency > 1 / WAVELENGTHS[1]
    spectrum = np.fft.rfft2(np.random.default_rng(seed).standard_normal((height, width)))
    noise = np.fft.irfft2(np.where(kept, spectrum / np.where(kept, frequency, 1), 0), s=(height, width))
    grey = (128 + 45 * noise / noise.std()).clip(0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def power_by_wavelength(image: Pixels) -> np.ndarray:
    """Power of the grey `image` (H, W, 3) in each of the bins of `WAVELENGTHS`, the shortest first; a Hann window hides the
    borders."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float64)
    h, w = grey.shape
    power = np.square(np.abs(np.fft.rfft2((grey - grey.mean()) * np.outer(np.hanning(h), np.hanning(w)))))
    octaves = -np.log2(np.maximum(_frequency(h, w), 1 / (h * w)))
    first, last = np.log2(WAVELENGTHS)
    return np.histogram(octaves, round((last - first) * BINS), (first, last), weights=power)[0]


def growth(power: np.ndarray, before: np.ndarray) -> float:
    """By how much wavelengths have grown between two paintings of the same, given their `power_by_wavelength`.

    The shift along the logarithmic axis that lays one spectrum best over the other, by the correlation of their logarithms:
    peaks and centroids are less robust, since strokes have several sizes, and what the net lets through of its input has all.
    """
    now, then = (np.log(np.convolve(np.pad(p, 2, mode="edge"), np.array([1, 2, 3, 2, 1]) / 9, "valid")) for p in (power, before))
    shifts = range(-FARTHEST, FARTHEST + 1)
    fits = [_correlation(now[max(0, s) : len(now) + min(0, s)], then[max(0, -s) : len(then) - max(0, s)]) for s in shifts]
    best = int(np.argmax(fits[1:-1])) + 1
    left, middle, right = fits[best - 1 : best + 2]
    return float(2 ** ((shifts[best] + (left - right) / (2 * (left - 2 * middle + right))) / BINS))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first, second)[0, 1])


def _frequency(height: int, width: int) -> np.ndarray:
    """Cycles a pixel of every coefficient of `np.fft.rfft2`."""
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
