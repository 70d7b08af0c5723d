"""Images that the tests of encoders and losses share."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor


@pytest.fixture
def image() -> Tensor:
    """Two random images (2, 3, 32, 40)."""
    torch.manual_seed(9)
    return torch.rand(2, 3, 32, 40)
