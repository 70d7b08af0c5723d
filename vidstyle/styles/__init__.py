"""The catalogue of styles, and the syntax of `--style` and `--timeline`."""

from __future__ import annotations

import sys
from types import ModuleType


class _Styles(ModuleType):
    """This package can be called, because `vidstyle.styles()` was a function in earlier versions."""

    def __call__(self) -> dict[str, dict[str, str]]:
        """As `vidstyle.list_styles()`."""
        from vidstyle.styles.catalog import list_styles

        return list_styles()


sys.modules[__name__].__class__ = _Styles
