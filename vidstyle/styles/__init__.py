"""Which styles there are, and what `--style` and `--timeline` mean."""

from __future__ import annotations

import sys
from types import ModuleType


class _Styles(ModuleType):
    """This package, which stays callable: `vidstyle.styles()` was a function before the package had that name."""

    def __call__(self) -> dict[str, dict[str, str]]:
        """As `vidstyle.list_styles()`."""
        from vidstyle.styles.catalog import list_styles

        return list_styles()


sys.modules[__name__].__class__ = _Styles
