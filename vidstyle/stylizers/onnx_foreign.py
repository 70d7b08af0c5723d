"""Models of other tools in ONNX Runtime: float images (N, 3, H, W) in 0..255, as fast-neural-style tools export them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import onnx

from vidstyle.core.errors import StyleError
from vidstyle.core.frames import Pixels
from vidstyle.core.model_file import has_fixed_size
from vidstyle.core.options import ColorOrder
from vidstyle.core.protocols import Engine, Stylizer
from vidstyle.stylizers.finite import check_finite
from vidstyle.stylizers.memory import MemoryFitter
from vidstyle.stylizers.padding import pad_to_multiple
from vidstyle.stylizers.sessions import CPU, engine_of, open_session, run_session

log = logging.getLogger(__name__)

_MULTIPLE = 4
"""Such models downsample twice."""
_MAX_SIDE = 8192
"""A model of a larger fixed size would take dozens of gigabytes."""


class ForeignOnnxStylizer(Stylizer):
    """A model of another tool, for images of any size or of a fixed size, to which images are scaled and back.

    It may be large, and every thread needs memory, so `concurrency` should be 1 unless requested.
    """

    def __init__(
        self, model: onnx.ModelProto, path: Path, device: str, model_color: ColorOrder, concurrency: int, cores: int
    ) -> None:
        threads = max(1, cores // concurrency)
        session = open_session(model.SerializeToString(), path, device, threads, tensorrt=has_fixed_size(model))
        self.session, self._bgr = session, model_color == "bgr"
        self.concurrency = concurrency if session.get_providers()[0] == CPU else 1
        self._input, self._output = session.get_inputs()[0], session.get_outputs()[0]
        self._fitter = MemoryFitter(None, 1)
        shape = self._input.shape
        if self._input.type != "tensor(float)" or len(shape) != 4 or (shape[1] not in (3, "3") and isinstance(shape[1], int)):
            raise StyleError(
                f"expected a model of float images (N, 3, H, W) in 0..255 or one that vidstyle trained, "
                f"got {self._input.type} {shape}: {path}"
            )
        n, _, h, w = shape
        self._size = (w, h) if isinstance(h, int) and isinstance(w, int) else None
        self._one_by_one = isinstance(n, int)
        if self._one_by_one and n != 1:
            raise StyleError(f"expected a model of one image or any number at a time, got batches of {n}: {path}")
        if self._size and not all(1 <= side <= _MAX_SIDE for side in self._size):
            raise StyleError(f"expected a model of images of 1 to {_MAX_SIDE} pixels per side, got {w}x{h}: {path}")
        if self._size:
            log.warning("the model works at %dx%d only: images are scaled to that and back", *self._size)

    @property
    def engine(self) -> Engine:
        return engine_of(self.session, "float32")

    @property
    def pixel_bytes(self) -> int:
        return 12 if self._size is not None else 400  # 32 channels of floats at full size, three times

    def stylize(self, images: Sequence[Pixels]) -> Pixels:
        return self._fitter.stylize(np.stack(images), self._stylize)

    def _stylize(self, images: Pixels) -> Pixels:
        h, w = images.shape[1:3]
        if self._size:
            batch = np.stack([cv2.resize(p, self._size, interpolation=cv2.INTER_AREA) for p in images])
        else:
            batch = pad_to_multiple(list(images), 0, _MULTIPLE)
        if self._bgr:
            batch = batch[..., ::-1]
        x = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32)
        chunks = [x[i : i + 1] for i in range(len(x))] if self._one_by_one else [x]
        y = np.concatenate([self._run(chunk) for chunk in chunks])
        stylized = np.clip(y.transpose(0, 2, 3, 1) + 0.5, 0, 255).astype(np.uint8)
        if self._bgr:
            stylized = stylized[..., ::-1]
        target = (w, h) if self._size else (x.shape[3], x.shape[2])
        if stylized.shape[2:0:-1] != target:
            stylized = np.stack([cv2.resize(p, target, interpolation=cv2.INTER_CUBIC) for p in stylized])
        return stylized[:, :h, :w]

    def _run(self, x: np.ndarray) -> np.ndarray:
        """Images float32 (N, 3, H, W) -> stylized ones, which may be larger or smaller."""
        y = run_session(self.session, [self._output.name], self._input.name, x)[0]
        if y.ndim != 4 or y.shape[:2] != x.shape[:2] or y.size == 0 or y.dtype.kind not in "fiu":
            raise StyleError(f"expected images {x.shape} from the model, got {y.shape} {y.dtype}")
        (h, w), (stylized_h, stylized_w) = x.shape[2:], y.shape[2:]
        if abs(stylized_h * w - stylized_w * h) > max(h, w):
            raise StyleError(
                f"expected images of the same aspect ratio from the model, got {stylized_w}x{stylized_h} for {w}x{h}"
            )
        check_finite("images", y)
        return y
