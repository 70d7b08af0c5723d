"""The working folder of keyframes: everything in it can be inspected, and stylized keyframes can be retouched.

frames/000048.png    an original keyframe
stylized/000048.png  the same, stylized; retouch it and run again, or delete it to have it stylized again
preview.jpg          all keyframes in a strip
net.onnx, net.pt     the net fine-tuned on them, and the checkpoint of its training
keyframes.json       which frames are keyframes, and where shots begin
state.json           what each file was made from, so that only files whose sources changed are made again
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from vidstyle.core.errors import DiskError, InputError
from vidstyle.core.files import replaced, writing
from vidstyle.core.frames import Pixels

FORMAT = 1


def fingerprint(*sources: object) -> str:
    """A short digest of `sources`, as JSON: what a file is made from."""
    return hashlib.sha256(json.dumps(sources, sort_keys=True, default=str).encode()).hexdigest()[:24]


def frame_name(number: int) -> str:
    """The name of the file of the original keyframe `number`."""
    return f"frames/{number:06}.png"


def stylized_name(number: int) -> str:
    """The name of the file of the stylized keyframe `number`."""
    return f"stylized/{number:06}.png"


def files_written(work: Path) -> list[Path]:
    """The files in the working folder `work` that a run may replace."""
    own = [work / name for name in ("preview.jpg", "net.onnx", "net.pt", "keyframes.json", "state.json")]
    return [*own, *work.glob("frames/*.png"), *work.glob("stylized/*.png")]


class WorkFolder:
    """Reads and writes the folder at `path`, which is created with the first file. Files are written whole or not at all.

    Raises `DiskError` if it cannot be written, `InputError` if its state cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if (path / "painted").is_dir() and not (path / "stylized").exists():  # the name in earlier versions
            with writing(path):
                (path / "painted").rename(path / "stylized")
        self._state = self._read_state()

    def _read_state(self) -> dict[str, Any]:
        path = self.path / "state.json"
        if not path.exists():
            return {"format": FORMAT, "made": {}}
        try:
            state = json.loads(path.read_text("utf-8").replace('"painted/', '"stylized/'))
            if state["format"] != FORMAT:
                raise ValueError("it is of another version")
            for entry in state["made"].values():
                str(entry["from"]), str(entry["sha256"]), dict(entry["facts"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"could not read the state of the working folder, {path} ({error}); remove it to start over"
            ) from None
        return dict(state)

    def _write(self, path: Path, data: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiskError(f"could not create the working folder {path.parent} ({error.strerror})") from error
        with writing(path), replaced(path) as temporary:
            temporary.write_bytes(data)

    def made_from(self, name: str) -> str | None:
        """The fingerprint of what the file `name` was made from; None if the file is missing or was changed."""
        entry = self._state["made"].get(name)
        return entry["from"] if entry and (self.path / name).exists() and self.digest(name) == entry["sha256"] else None

    def facts(self, name: str) -> dict[str, Any]:
        """The facts recorded about the file `name`."""
        return dict(self._state["made"].get(name, {}).get("facts", {}))

    def was_retouched(self, name: str) -> bool:
        """Whether the file `name` exists and is not as it was written here."""
        entry = self._state["made"].get(name, {})
        return (self.path / name).exists() and self.digest(name) not in (entry.get("sha256"), entry.get("before"))

    def digest(self, name: str) -> str:
        """SHA-256 of the file's bytes."""
        return hashlib.sha256((self.path / name).read_bytes()).hexdigest()

    def record(self, name: str, made_from: str, sha256: str | None = None, **facts: Any) -> None:
        """Record what the file `name` was made from: the file that exists, or one to be written, with the digest `sha256`."""
        before = self._state["made"].get(name, {}).get("sha256")
        entry = {"from": made_from, "sha256": sha256 or self.digest(name), "before": before, "facts": facts}
        self._state["made"][name] = entry
        self._write(self.path / "state.json", (json.dumps(self._state, indent=1) + "\n").encode())

    def save_image(self, name: str, pixels: Pixels, made_from: str) -> None:
        """Write a PNG and record what it was made from."""
        self._save(name, _encoded(pixels, ".png"), made_from)

    def save_facts(self, name: str, made_from: str, **facts: Any) -> None:
        """Write `facts` to a JSON file, and record them and what they were made from."""
        self._save(name, (json.dumps(facts, indent=1) + "\n").encode(), made_from, **facts)

    def _save(self, name: str, data: bytes, made_from: str, **facts: Any) -> None:
        # Recorded first: if the process ends between the two, the old file still does not count as retouched.
        self.record(name, made_from, hashlib.sha256(data).hexdigest(), **facts)
        self._write(self.path / name, data)

    def save_preview(self, pixels: Pixels) -> None:
        self._write(self.path / "preview.jpg", _encoded(pixels, ".jpg"))

    def load_image(self, name: str, size: tuple[int, int] | None = None) -> Pixels:
        """RGB (H, W, 3). Raises `InputError` if it is no image, or not of `size` (H, W)."""
        path = self.path / name
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) if path.stat().st_size else None
        if image is None:
            raise InputError(f"could not read {path} as an image; delete it to stylize it again")
        if size is not None and image.shape[:2] != size:
            raise InputError(
                f"expected {path} to be {size[1]}x{size[0]} like the video, got {image.shape[1]}x{image.shape[0]}; "
                "scale it, or delete it to have it stylized again"
            )
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _encoded(pixels: Pixels, suffix: str) -> bytes:
    done, data = cv2.imencode(suffix, cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2BGR))
    assert done
    return data.tobytes()
