"""A guard for all engines: NaN and infinity in a model would become black pixels without a word."""

from __future__ import annotations

import numpy as np

from vidstyle.core.errors import StyleError


def check_finite(what: str, *arrays: np.ndarray) -> None:
    """Raise `StyleError` if a number in `arrays` is NaN or infinite; `what` describes them in its message."""
    for array in arrays:
        if array.size and not np.isfinite([array.min(), array.max()]).all():  # allocates nothing, and NaN is contagious
            raise StyleError(f"expected finite {what} from the model, got NaN or infinity")
