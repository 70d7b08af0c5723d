"""Options out of range are refused when they are made, whoever makes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from vidstyle.core.errors import UsageError
from vidstyle.core.options import (
    ClusterOptions,
    ConvertOptions,
    EncodeOptions,
    KeyframeOptions,
    LiveOptions,
    PaintOptions,
    StyleOptions,
    TrainOptions,
    Trim,
    WebOptions,
)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Trim(-1), "expected a start of 0 to 1e+09 seconds, got -1"),
        (lambda: Trim(1e17), "expected a start of 0 to 1e+09 seconds, got 1e+17"),
        (lambda: Trim(math.nan), "expected a start of 0 to 1e+09 seconds, got nan"),
        (lambda: Trim(2, 1), "expected an end after the start, got 2 to 1 s"),
        (lambda: Trim(2, math.nan), "expected an end after the start, got 2 to nan s"),
        (lambda: EncodeOptions(quality=101), "expected a quality from 0 to 100, got 101"),
        (lambda: EncodeOptions(quality=-1), "expected a quality from 0 to 100, got -1"),
        (lambda: StyleOptions(height=15), "expected an inference height of at least 16 pixels, got 15"),
        (lambda: StyleOptions(strength=1.1), "expected a strength from 0 to 1, got 1.1"),
        (lambda: StyleOptions(strength=math.nan), "expected a strength from 0 to 1, got nan"),
        (lambda: StyleOptions(stroke_scale=5), "expected a stroke scale from 0.25 to 4, got 5"),
        (lambda: StyleOptions(fade=math.inf), "expected a fade of 0 seconds or more, got inf"),
        (lambda: ConvertOptions(batch_size=0), "expected a batch size from 1 to 64, got 0"),
        (lambda: ConvertOptions(batch_size=65), "expected a batch size from 1 to 64, got 65"),
        (lambda: ClusterOptions(workers=0), "expected at least one worker, got 0"),
        (lambda: ClusterOptions(chunk_seconds=-1), "expected a chunk length of 0 seconds or more, got -1"),
        (lambda: LiveOptions(fps=0.5), "expected a frame rate from 1 to 240, got 0.5"),
        (lambda: LiveOptions(fps=math.nan), "expected a frame rate from 1 to 240, got nan"),
        (lambda: WebOptions(port=65536), "expected a port from 0 to 65535, got 65536"),
        (lambda: PaintOptions(content_weight=-1), "expected a content weight of at least 0, got -1"),
        (lambda: PaintOptions(content_weight=math.inf), "expected a content weight of at least 0, got inf"),
        (lambda: PaintOptions(stroke_scale=0.05), "expected a stroke scale from 0.1 to 10, got 0.05"),
        (lambda: PaintOptions(steps=0), "expected a number of steps of at least 1, got 0"),
        (lambda: PaintOptions(steps=-3), "expected a number of steps of at least 1, got -3"),
        (lambda: PaintOptions(memory=0), "expected a memory limit above 0, got 0"),
        (lambda: KeyframeOptions(every=0), "expected an interval between keyframes of at least 1, got 0"),
        (lambda: KeyframeOptions(net_steps=-1), "expected a number of fine-tuning steps of at least 1, got -1"),
        (lambda: TrainOptions(steps=-1), "expected a number of steps of at least 1, got -1"),
        (lambda: TrainOptions(minutes=0), "expected a time for training in minutes above 0, got 0"),
        (lambda: TrainOptions(identity_steps=-1), "expected a number of identity steps of at least 0, got -1"),
        (lambda: TrainOptions(batch=0), "expected a batch size of at least 1, got 0"),
        (lambda: TrainOptions(crop=56), "expected a crop size of at least 64, got 56"),
        (lambda: TrainOptions(crop=65), "expected a crop size divisible by 8, got 65"),
        (lambda: TrainOptions(style_size=63), "expected a style size of at least 64, got 63"),
        (lambda: TrainOptions(style_layers=(("relu1_1", 0.0),)), "expected a weight of relu1_1 above 0, got 0"),
        (lambda: TrainOptions(content_weight=-0.1), "expected a content weight of at least 0, got -0.1"),
        (lambda: TrainOptions(tone_weight=math.nan), "expected a tone weight of at least 0, got nan"),
        (lambda: TrainOptions(tv_weight=-1), "expected a tv weight of at least 0, got -1"),
        (lambda: TrainOptions(border_weight=-1), "expected a border weight of at least 0, got -1"),
        (lambda: TrainOptions(consistency_weight=-1), "expected a consistency weight of at least 0, got -1"),
        (lambda: TrainOptions(consistency_ramp=1.5), "expected a consistency ramp from 0 to 1, got 1.5"),
        (lambda: TrainOptions(tone_size=0), "expected a tone size of at least 1, got 0"),
        (lambda: TrainOptions(learning_rate=0.0), "expected a learning rate above 0, got 0"),
        (lambda: TrainOptions(checkpoint_every=0), "expected a number of steps between checkpoints of at least 1, got 0"),
        (lambda: replace(StyleOptions(), strength=-1), "expected a strength from 0 to 1, got -1"),
    ],
)
def test_values_out_of_range_are_usage_errors(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == sentence


def test_limits_themselves_are_accepted() -> None:
    EncodeOptions(quality=0)
    ConvertOptions(batch_size=64)
    LiveOptions(fps=240)
    WebOptions(port=0)
    PaintOptions(content_weight=0.0, stroke_scale=10, steps=1, memory=0.01)
    KeyframeOptions(every=1, net_steps=1)
    TrainOptions(steps=1, identity_steps=0, crop=64, style_size=64, tv_weight=0, consistency_ramp=0)
