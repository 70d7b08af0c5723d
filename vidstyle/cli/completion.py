"""What the shell completes: names of styles, and files."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem


def complete_styles(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of styles, also of the last one in a blend; files where no style matches."""
    from vidstyle.styles.catalog import all_styles

    before, comma, name = incomplete.rpartition(",")
    found = [CompletionItem(before + comma + style) for style in sorted(all_styles()) if style.startswith(name)]
    return found or [CompletionItem(incomplete, type="file")]


def complete_files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Files and folders, which the shell itself lists."""
    return [CompletionItem(incomplete, type="file")]
