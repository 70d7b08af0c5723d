"""Measures the stroke size of one stylized image relative to another.

Both are stylized pink noise, which has the same power in every octave and so looks the same at every scale: any scale in the
result comes from the net. (On a blurred image the nets draw hardly any strokes, and on a photograph the sizes of its own
details show.)
"""

from __future__ import annotations

import cv2
import numpy as np

from vidstyle.core.frames import Pixels

SIZE = (640, 360)
WAVELENGTHS = (2.0, 128.0)
"""The range that is analysed, in pixels."""
BINS = 6
"""Per octave."""
MAX_SHIFT = 2 * BINS
"""Strokes may be up to two octaves larger or smaller."""


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
    """Power of the grey `image` (H, W, 3) in each of the bins of `WAVELENGTHS`, the shortest first; a Hann window suppresses the
    borders."""
    grey = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float64)
    h, w = grey.shape
    power = np.square(np.abs(np.fft.rfft2((grey - grey.mean()) * np.outer(np.hanning(h), np.hanning(w)))))
    octaves = -np.log2(np.maximum(_frequency(h, w), 1 / (h * w)))
    first, last = np.log2(WAVELENGTHS)
    return np.histogram(octaves, round((last - first) * BINS), (first, last), weights=power)[0]


def growth(power: np.ndarray, before: np.ndarray) -> float:
    """The factor by which wavelengths grew between two results of the same input, from their `power_by_wavelength`.

    It is the shift along the logarithmic axis that best aligns the spectra, by the correlation of their logarithms. Peaks and
    centroids are less robust, because strokes have several sizes, and what the net passes through of its input has all sizes.
    """
    now, then = (np.log(np.convolve(np.pad(p, 2, mode="edge"), np.array([1, 2, 3, 2, 1]) / 9, "valid")) for p in (power, before))
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    fits = [_correlation(now[max(0, s) : len(now) + min(0, s)], then[max(0, -s) : len(then) - max(0, s)]) for s in shifts]
    best = int(np.argmax(fits[1:-1])) + 1
    left, middle, right = fits[best - 1 : best + 2]
    return float(2 ** ((shifts[best] + (left - right) / (2 * (left - 2 * middle + right))) / BINS))


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first, second)[0, 1])


def _frequency(height: int, width: int) -> np.ndarray:
    """Cycles per pixel of every coefficient of `np.fft.rfft2`."""
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
