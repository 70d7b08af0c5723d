"""`python -m vidstyle`, and the console script; the only place that exits."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from vidstyle.cli import run_command_line

    sys.exit(run_command_line(sys.argv[1:]))


if __name__ == "__main__":
    main()
