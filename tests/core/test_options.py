"""Options out of range are refused when they are made, whoever makes them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from vidstyle.core.errors import UsageError
from vidstyle.core.options import ClusterOptions, ConvertOptions, EncodeOptions, StyleOptions, Trim


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Trim(-1), "expected a start of 0 seconds or more, got -1"),
        (lambda: Trim(math.nan), "expected a start of 0 seconds or more, got nan"),
        (lambda: Trim(2, 1), "expected an end after the start, got 2 to 1 s"),
        (lambda: Trim(2, math.nan), "expected an end after the start, got 2 to nan s"),
        (lambda: EncodeOptions(quality=101), "expected a quality of 0 to 100, got 101"),
        (lambda: EncodeOptions(quality=-1), "expected a quality of 0 to 100, got -1"),
        (lambda: StyleOptions(height=15), "expected an inference height of at least 16 pixels, got 15"),
        (lambda: StyleOptions(strength=1.1), "expected a strength from 0 to 1, got 1.1"),
        (lambda: StyleOptions(strength=math.nan), "expected a strength from 0 to 1, got nan"),
        (lambda: StyleOptions(stroke_scale=5), "expected a stroke scale from 0.25 to 4, got 5"),
        (lambda: StyleOptions(fade=math.inf), "expected a fade of 0 seconds or more, got inf"),
        (lambda: ConvertOptions(batch_size=0), "expected a batch_size of at least 1, got 0"),
        (lambda: ClusterOptions(workers=0), "expected at least one worker, got 0"),
        (lambda: ClusterOptions(chunk_seconds=-1), "expected a chunk length of 0 seconds or more, got -1"),
        (lambda: replace(StyleOptions(), strength=-1), "expected a strength from 0 to 1, got -1"),
    ],
)
def test_values_out_of_range_are_usage_errors(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        make()
    assert str(caught.value) == sentence
