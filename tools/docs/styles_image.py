"""Draw the README's image: a frame of the sample clip in every style that ships, as `vidstyle styles --sheet` shows them.

python -m tools.docs.styles_image [--output samples/styles.jpg]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from vidstyle.conversion.contact_sheet import make_contact_sheet

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 2.0
"""Position in the sample of the frame that is shown."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "samples" / "styles.jpg")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as empty:
        os.environ["VIDSTYLE_STYLES"] = empty  # without the user's own styles
        make_contact_sheet(args.output, str(ROOT / "samples" / "boat.mp4"), SECONDS, overwrite=True)


if __name__ == "__main__":
    main()
