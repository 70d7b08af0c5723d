"""Feed-forward style networks after Johnson, Alahi, Fei-Fei 2016, "Perceptual Losses for Real-Time Style Transfer".

Both take and return float RGB in [0, 1], shape (N, 3, H, W); H and W divisible by `MULTIPLE`. The output is not clamped.

Departures from the paper, in both: nearest-neighbour upsampling and a convolution instead of a strided transposed one
(Odena et al. 2016, no checkerboard), zero padding (the caller adds a mirrored margin, see `MARGIN`), a linear output.

Normalization is instance normalization (Ulyanov et al. 2016) that also tracks its statistics. In `eval()` mode the tracked
statistics are used, which makes the network plain convolutions once they are folded: several times faster in ONNX Runtime,
and without the pulsing of per-frame statistics.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

MULTIPLE = 8
"""Height and width must be divisible by this."""

MARGIN = 32
"""Pixels of mirrored border to add on every side and crop afterwards: zero padding is then hardly visible, and the border
loss of the training removes the rest."""


class ConvNorm(nn.Sequential):
    """Convolution, instance normalization and, except at the end of a residual block, ReLU."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, relu: bool = True) -> None:
        layers: list[nn.Module] = [
            nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False),
            nn.InstanceNorm2d(c_out, affine=True, track_running_stats=True, momentum=0.02),
        ]
        super().__init__(*layers, *([nn.ReLU()] if relu else []))


class Residual(nn.Module):
    """Two 3x3 convolutions and the identity; no ReLU after the sum (Gross and Wilber 2016, as the paper has it)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNorm(channels, channels, 3), ConvNorm(channels, channels, 3, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.body(x)
        return y


def _up() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="nearest")


def _grey(conv: nn.Conv2d) -> nn.Conv2d:
    """`conv`, initialized to output mid grey."""
    assert conv.bias is not None
    nn.init.constant_(conv.bias, 0.5)
    return conv


class TransformerNet(nn.Module):
    """The paper's network: 32-64-128 channels, five residual blocks; 1.68 M weights, 154 k multiply-adds per pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(ConvNorm(3, 32, 9), ConvNorm(32, 64, 3, 2), ConvNorm(64, 128, 3, 2))
        self.body = nn.Sequential(*(Residual(128) for _ in range(5)))
        self.decode = nn.Sequential(_up(), ConvNorm(128, 64, 3), _up(), ConvNorm(64, 32, 3))
        self.paint = _grey(nn.Conv2d(32, 3, 9, padding=4))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.paint(self.decode(self.body(self.encode(x))))
        return y


class CompactTransformerNet(nn.Module):
    """The network of the shipped styles: 0.29 M weights, 8 k multiply-adds per pixel.

    Most of the work is done at an eighth of the size with 64 channels: as many multiply-adds as at a quarter with 32, but four
    times the weights and twice the receptive field, which large strokes need. A skip connection at a quarter of the size keeps
    small content sharp, and sub-pixel convolution (Shi et al. 2016) avoids convolutions at full size. Channel counts are
    multiples of 16, for which ONNX Runtime's blocked layout is fast.
    """

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Sequential(ConvNorm(3, 16, 5, 2), ConvNorm(16, 32, 3, 2), Residual(32))
        self.deep = nn.Sequential(ConvNorm(32, 64, 3, 2), *(Residual(64) for _ in range(3)), nn.Conv2d(64, 32, 1), _up())
        self.decode = nn.Sequential(Residual(32), nn.Conv2d(32, 16, 1), _up(), ConvNorm(16, 16, 3))
        self.paint = nn.Sequential(_grey(nn.Conv2d(16, 12, 3, padding=1)), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        shallow = self.encode(x)
        y: Tensor = self.paint(self.decode(shallow + self.deep(shallow)))
        return y


ARCHITECTURES: dict[str, Callable[[], nn.Module]] = {"full": TransformerNet, "compact": CompactTransformerNet}
