"""`vidstyle styles`: the list, the sheet, and user styles that are added, verified and removed."""

from __future__ import annotations

import json
import resource
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from tests.support.helpers import hide_torch, identity_model, imread, listing, moving_bar, paint, run_cli, save_model, write_clip
from vidstyle.conversion.contact_sheet import Cell, draw_sheet, read_sample_image
from vidstyle.core.errors import InputError, OutputExistsError, StyleError, UsageError
from vidstyle.core.frames import Pixels
from vidstyle.core.options import StyleOptions
from vidstyle.networks.examples_net import ExamplesTransformerNet
from vidstyle.styles.catalog import add_style, all_styles, find_style, read_catalog, sha256, shipped_folder
from vidstyle.stylizers import download as downloading
from vidstyle.stylizers import install as installing
from vidstyle.stylizers import load_stylizer
from vidstyle.stylizers.install import install

FAILED, USAGE, MODEL, DISK = 1, 2, 4, 5
SHIPPED = read_catalog(shipped_folder())


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the user's styles, which does not exist yet."""
    folder = tmp_path / "mine" / "styles"
    monkeypatch.setenv("VIDSTYLE_STYLES", str(folder))
    return folder


@pytest.fixture
def model(tmp_path: Path, styles: Path) -> Path:
    """A model whose metadata name it `tiny` by Nobody, in a file of another name."""
    return Path(shutil.copy(styles / "tiny.onnx", tmp_path / "download.onnx"))


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    torch.manual_seed(6)
    torch.save(ExamplesTransformerNet(4).state_dict(), tmp_path / "Candy Été_2.pth")
    return tmp_path / "Candy Été_2.pth"


def refused(code: int, *args: object, message: str, **options: Any) -> None:
    """`vidstyle styles ARGS` exits with `code` and prints one line that contains `message`."""
    done = run_cli("styles", *args, **options)
    assert done.returncode == code, done.stderr
    [line] = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert message in line
    assert done.stdout == ""


def place(own: Path, model: Path, name: str) -> None:
    """Make `model` one of the user's styles without trying it, which takes seconds where it needs torch."""
    own.mkdir(parents=True, exist_ok=True)
    shutil.copy(model, own / f"{name}{model.suffix}")
    add_style(own, name, {"file": f"{name}{model.suffix}", "sha256": sha256(model)})


def give_files(folder: Path, style: str, **files: str) -> None:
    """Change the facts about a style in the catalogue of `folder`."""
    add_style(folder, style, {**read_catalog(folder)[style], **files})


# The list


def test_table_is_aligned_and_not_truncated(styles: Path) -> None:
    heading, *lines = run_cli("styles").stdout.splitlines()
    found = {line.split()[0]: line for line in lines}
    assert list(found) == sorted([*SHIPPED, "slow", "tiny"])
    for name, facts in SHIPPED.items():
        for column, fact in (("title", "title"), ("artist", "painter"), ("year", "year"), ("licence", "licence")):
            assert found[name][heading.index(column) :].startswith(facts[fact])
        assert found[name][heading.index("from") :].startswith("shipped")
        assert found[name][heading.index("exemplar") :].startswith("yes")
    kilobytes = (styles / "tiny.onnx").stat().st_size / 1000
    assert found["tiny"][heading.index("size") :].startswith(f"{kilobytes:.0f} kB")
    assert found["tiny"][heading.index("from") :].startswith("own")
    assert found["tiny"][heading.index("exemplar") :].startswith("-")


def test_json_has_all_facts(styles: Path, own: Path, model: Path) -> None:
    install(str(model), {"family": "water"})
    facts = json.loads(run_cli("styles", "--json").stdout)
    assert facts["v"] == 1
    found = {style["name"]: style for style in facts["styles"]}
    assert found["tiny"] == {
        "name": "tiny", "file": str(own / "tiny.onnx"), "sha256": sha256(model), "bytes": model.stat().st_size,
        "title": "Tiny", "painter": "Nobody", "year": None, "licence": "CC0", "architecture": "compact", "family": "water",
        "exemplar": None, "source": "own",
    }  # fmt: skip
    for name, facts in SHIPPED.items():
        assert found[name]["source"] == "shipped"
        assert sha256(Path(found[name]["file"])) == facts["sha256"]
        assert sha256(Path(found[name]["exemplar"])) == facts["exemplar"]["sha256"]


def test_style_without_its_file_is_listed_as_missing(own: Path, model: Path) -> None:
    install(str(model), {})
    (own / "tiny.onnx").unlink()
    [line] = [line for line in run_cli("styles").stdout.splitlines() if line.startswith("tiny")]
    assert "missing" in line


@pytest.mark.parametrize("catalog", ["", "[]", '{"styles": []}', '{"styles": {"tiny": 3}}'])
def test_broken_catalogue_is_reported(own: Path, catalog: str) -> None:
    own.mkdir(parents=True)
    (own / "catalog.json").write_text(catalog)
    refused(MODEL, message=str(own / "catalog.json"))


# The sheet


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_sheet_shows_the_original_and_every_style(tmp_path: Path, own: Path, suffix: str) -> None:
    image = moving_bar(3, 192, 108)
    cv2.imwrite(str(tmp_path / "in.png"), image[..., ::-1])
    done = run_cli("styles", "--sheet", f"out{suffix}", "--image", "in.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    sheet = imread(tmp_path / f"out{suffix}")[..., ::-1]
    images = cells_of(sheet)
    assert len(images) == 1 + len(SHIPPED)
    expected = [image]
    for name in sorted(SHIPPED):
        net = load_stylizer(StyleOptions(name, device="cpu")).for_shot([image])
        expected.append(net.stylize([image])[0])
    for shown, wanted in zip(images, expected, strict=True):
        assert 1.6 < shown.shape[1] / shown.shape[0] < 2
        small = cv2.resize(shown, (48, 27), interpolation=cv2.INTER_AREA).astype(int)
        assert np.abs(small - cv2.resize(wanted, (48, 27), interpolation=cv2.INTER_AREA)).mean() < 12
    assert 1500 < sheet.shape[1] <= 1600
    assert listing(tmp_path) == ["in.png", f"out{suffix}"]


def cells_of(sheet: Pixels) -> list[Pixels]:
    """The bounding boxes of the images on a sheet, row by row, which are much larger than letters."""
    filled = (sheet.min(2) < 240).astype(np.uint8)
    filled = cv2.morphologyEx(filled, cv2.MORPH_CLOSE, np.ones((15, 15), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(filled)
    boxes = sorted((y // 50, x, y, w, h) for x, y, w, h, _ in stats[1:].tolist() if w > 200 and h > 100)
    return [np.ascontiguousarray(sheet[y : y + h, x : x + w]) for _, x, y, w, h in boxes]


@pytest.mark.parametrize(("w", "h"), [(640, 360), (360, 640), (30, 20), (900, 20), (20, 900)])
@pytest.mark.parametrize("count", [1, 2, 5, 13])
def test_sheet_has_even_margins_and_a_readable_size(w: int, h: int, count: int) -> None:
    sheet = draw_sheet(Cell(np.zeros((h, w, 3), np.uint8), ["name", "title", "painter"]) for _ in range(count))
    inked = np.argwhere((sheet < 250).any(2))
    top, left = inked.min(0)
    bottom, right = np.array(sheet.shape[:2]) - 1 - inked.max(0)
    assert top == left == 32
    assert 32 <= bottom <= 50
    assert right >= 32
    assert 1500 < sheet.shape[1] <= 1600
    if h < 2 * w:
        assert right == 32


def test_letters_of_other_languages_are_drawn() -> None:
    def drawn(text: str) -> Pixels:
        return draw_sheet(iter([Cell(np.zeros((60, 90, 3), np.uint8), [text, "", ""])]))

    for letter in "éŁńßЯΩ北":
        assert (drawn(letter) != drawn("?")).any()
        assert (drawn(letter) != drawn("")).any()


def test_long_words_stay_below_their_own_image() -> None:
    def drawn(words: str) -> Pixels:
        return draw_sheet(Cell(np.zeros((60, 90, 3), np.uint8), [text] * 3) for text in (words, "", ""))

    written = np.flatnonzero((drawn("W" * 300) != drawn("")).any((0, 2)))
    black = np.flatnonzero((drawn("")[100] == 0).all(1))
    first_image = black[: np.flatnonzero(np.diff(black) > 1)[0] + 1]
    assert first_image[0] <= written.min()
    assert written.max() <= first_image[-1]


def brightness_encodes_the_frame(index: int, width: int, height: int) -> Pixels:
    return np.full((height, width, 3), 20 * index, np.uint8)


@pytest.mark.parametrize(("at", "index"), [(None, 6), (0.0, 0), (0.125, 3), (11 / 24, 11)])
def test_frame_of_a_video_is_the_one_at_its_time(tmp_path: Path, at: float | None, index: int) -> None:
    clip = write_clip(tmp_path / "in.mp4", image=brightness_encodes_the_frame)
    image, _ = read_sample_image(str(clip), at)
    assert abs(image.mean() - 20 * index) < 4


def test_video_of_one_frame_has_a_middle(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=[0])
    assert read_sample_image(str(clip))[0].shape == (48, 64, 3)


@pytest.mark.parametrize(("rotation", "aspect", "shape"), [(90, None, (64, 48)), (0, 2, (48, 128)), (90, 2, (128, 48))])
def test_frame_has_display_orientation_and_aspect(
    tmp_path: Path, rotation: int, aspect: int | None, shape: tuple[int, int]
) -> None:
    clip = write_clip(tmp_path / "in.mov", rotation=rotation, aspect=None if aspect is None else Fraction(aspect))
    image = read_sample_image(str(clip))[0]
    assert image.shape == (*shape, 3)


def test_time_can_be_set_on_the_command_line(tmp_path: Path, own: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", image=brightness_encodes_the_frame)
    for at in ("0:00.125", "0.125"):
        out = tmp_path / "out.png"
        done = run_cli("styles", "--sheet", out, "--image", clip, "--at", at, "--height", 32, "--overwrite")
        assert done.returncode == 0, done.stderr
        assert abs(cells_of(imread(out))[0].mean() - 60) < 4


@pytest.mark.parametrize(
    ("code", "args", "message"),
    [
        (USAGE, ["--sheet", "out.png"], "--image FILE"),
        (USAGE, ["--image", "in.png"], "--sheet FILE"),
        (USAGE, ["--sheet", "out.gif", "--image", "in.png"], "out.gif"),
        (USAGE, ["--sheet", "out", "--image", "in.png"], ".png, .jpg or .webp"),
        (USAGE, ["--sheet", "out.png", "--image", "in.png", "--at", "3"], "only for a video"),
        (USAGE, ["--sheet", "out.png", "--image", "http://127.0.0.1:9/in.png"], "URL"),
        (USAGE, ["--sheet", "out.png", "--image", "in.png", "--json"], "cannot be combined"),
        (USAGE, ["--sheet", "out.png", "--image", "in.png", "--height", "3"], "at least 16"),
        (USAGE, ["--overwrite", "verify"], "--overwrite cannot be used before verify"),
        (FAILED, ["--sheet", "there.png", "--image", "in.png"], "--overwrite"),
        (FAILED, ["--sheet", "in.png", "--image", "in.png", "--overwrite"], "the input itself"),
        (FAILED, ["--sheet", "out.png", "--image", "missing.png"], "missing.png"),
        (FAILED, ["--sheet", "out.png", "--image", "there.png"], "there.png"),
        (FAILED, ["--sheet", "out.png", "--image", "in.mp4", "--at", "99"], "from 99 s on"),
        (DISK, ["--sheet", "none/out.png", "--image", "in.png"], "folder"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_invalid_sheets_are_refused(tmp_path: Path, own: Path, code: int, args: list[str], message: str) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), moving_bar(0, 64, 48))
    write_clip(tmp_path / "in.mp4")
    (tmp_path / "there.png").write_text("precious")
    before = listing(tmp_path)
    refused(code, *args, message=message, cwd=tmp_path)
    assert listing(tmp_path) == before
    assert (tmp_path / "there.png").read_text() == "precious"


# Adding styles


def test_added_style_is_used_by_its_name(tmp_path: Path, own: Path, model: Path) -> None:
    done = run_cli("styles", "add", model, "--artist", "Somebody", "--year", "1920", "--sha256", sha256(model).upper())
    assert (done.returncode, done.stdout, done.stderr) == (0, "tiny\n", "")
    entry = read_catalog(own)["tiny"]
    assert entry == {
        "file": "tiny.onnx", "sha256": sha256(model), "title": "Tiny", "painter": "Somebody", "year": "1920", "licence": "CC0",
        "architecture": "compact",
    }  # fmt: skip
    assert listing(own) == ["catalog.json", "tiny.onnx"]
    cv2.imwrite(str(tmp_path / "in.png"), moving_bar(0, 64, 48))
    paint(tmp_path / "in.png", style="tiny")
    assert (tmp_path / "in.tiny.png").exists()


def test_model_of_pytorch_examples_is_named_after_its_file(own: Path, examples: Path) -> None:
    assert install(str(examples), {"title": "Candy"}) == "candy-ete-2"
    assert read_catalog(own)["candy-ete-2"] == {"file": "candy-ete-2.pth", "sha256": sha256(examples), "title": "Candy"}
    assert load_stylizer(StyleOptions("candy-ete-2", device="cpu")).stylize([moving_bar(0, 32, 32)]).shape == (1, 32, 32, 3)


def test_name_option_overrides_the_name_in_the_model(own: Path, model: Path) -> None:
    assert install(str(model), {}, name="mine") == "mine"
    assert listing(own) == ["catalog.json", "mine.onnx"]


@pytest.mark.parametrize("name", ["", "Mine", "a/b", "../up", "-x", "a.b"])
def test_invalid_names_are_refused(own: Path, model: Path, name: str) -> None:
    with pytest.raises(UsageError, match="lower-case letters"):
        install(str(model), {}, name=name)
    assert not own.exists()


def test_file_name_without_letters_requires_a_name(tmp_path: Path, own: Path) -> None:
    with pytest.raises(UsageError, match="--name"):
        install(str(identity_model(tmp_path / "北斎.onnx")), {})
    assert listing(own) == []


@pytest.mark.parametrize("name", ["tiny", "mosaic"])
def test_existing_style_is_kept_without_overwrite(own: Path, model: Path, examples: Path, name: str) -> None:
    place(own, examples, "tiny")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        install(str(model), {}, name=name)
    assert listing(own) == ["catalog.json", "tiny.pth"]
    install(str(model), {}, name=name, overwrite=True)
    assert find_style(name) == own / f"{name}.onnx"
    assert sha256(find_style(name)) == sha256(model)
    assert listing(own) == sorted({"catalog.json", f"{name}.onnx", *({"tiny.pth"} if name == "mosaic" else set())})


def test_file_that_no_style_uses_is_not_replaced(own: Path, model: Path) -> None:
    own.mkdir(parents=True)
    (own / "tiny.onnx").write_text("precious")
    with pytest.raises(OutputExistsError, match=r"tiny\.onnx"):
        install(str(model), {})
    assert (own / "tiny.onnx").read_text() == "precious"
    assert listing(own) == ["tiny.onnx"]


def missing(path: Path) -> None:
    pass


def rubbish(path: Path) -> None:
    path.write_bytes(b"rubbish" * 99)


def integers(path: Path) -> None:
    save_model(path, [helper.make_node("Identity", ["x"], ["y"])], kind=TensorProto.INT64)


def black(path: Path) -> None:
    save_model(path, [helper.make_node("Mul", ["x", "start_time"], ["y"])], {"start_time": np.array(0, np.float32)})


def grey(path: Path) -> None:
    save_model(path, [helper.make_node("ReduceMean", ["x"], ["y"], axes=[1], keepdims=1)])


def half(path: Path) -> None:
    constants = {"from": np.array([0]), "to": np.array([32]), "axis": np.array([2])}
    save_model(path, [helper.make_node("Slice", ["x", "from", "to", "axis"], ["y"])], constants)


@pytest.mark.parametrize("make", [missing, rubbish, integers, black, grey, half])
def test_model_that_does_not_work_is_not_added(tmp_path: Path, own: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "bad.onnx")
    with pytest.raises(StyleError) as caught:
        install(str(tmp_path / "bad.onnx"), {})
    assert ".adding-" not in str(caught.value)
    assert listing(own) == []


def test_model_that_needs_torch_is_refused_without_it(
    tmp_path: Path, own: Path, examples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hide_torch(tmp_path / "hidden", monkeypatch)
    refused(MODEL, "add", examples, message="pip install 'vidstyle[torch]'")
    assert listing(own) == []


def test_unreadable_model_is_one_sentence(tmp_path: Path, own: Path) -> None:
    rubbish(tmp_path / "bad.onnx")
    refused(MODEL, "add", "bad.onnx", message="could not read bad.onnx", cwd=tmp_path)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["model.zip"], ".onnx"),
        (["http://127.0.0.1:9/m.onnx", "--sha256", "0" * 64], "--allow-network"),
        (["http://127.0.0.1:9/m.onnx", "--allow-network"], "--sha256"),
        (["file:///m.onnx", "--allow-network", "--sha256", "0" * 64], "http or https"),
        (["m.onnx", "--sha256", "abc"], "64 hexadecimal digits"),
    ],
)
def test_invalid_requests_are_refused(tmp_path: Path, own: Path, args: list[str], message: str) -> None:
    refused(USAGE, "add", *args, message=message, cwd=tmp_path)
    assert not own.exists()


def test_file_with_another_hash_is_not_added(own: Path, model: Path) -> None:
    with pytest.raises(StyleError, match=f"{'0' * 64}, got {sha256(model)}"):
        install(str(model), {}, sha256="0" * 64)
    assert listing(own) == []


def test_unwritable_folder_is_reported(own: Path, model: Path) -> None:
    own.parent.mkdir()
    own.write_text("a file")
    refused(DISK, "add", model, message=str(own))
    refused(DISK, "add", model, message="/dev/null", env={"VIDSTYLE_STYLES": "/dev/null/styles"})


# Adding styles from the network


class Site(BaseHTTPRequestHandler):
    """Serves `model`, whole or truncated, and redirects."""

    model: ClassVar[bytes]
    to: ClassVar[dict[str, str]] = {
        "/moved.onnx": "/m.onnx",
        "/to-file.onnx": "file:///m.onnx",
        "/to-ftp.onnx": "ftp://127.0.0.1/m",
    }

    def do_GET(self) -> None:
        path = self.path.removesuffix("?download=1")
        if path in self.to:
            self.send_response(302)
            self.send_header("Location", self.to[path])
            self.end_headers()
            return
        if path.startswith("/dripping"):
            self._drip(b"HTTP/1.1 200 OK\r\n" + (b"" if "headers" in path else b"\r\n"))
            return
        if path not in ("/m.onnx", "/cut.onnx", "/..%2Fup.onnx"):
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.model) + (path == "/cut.onnx")))
        self.end_headers()
        self.wfile.write(self.model)

    def _drip(self, start: bytes) -> None:
        """Send a byte now and then, until nobody listens."""
        with suppress(OSError):
            self.wfile.write(start)
            while True:
                self.wfile.write(b"x")
                time.sleep(0.02)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture
def site(model: Path) -> Iterator[str]:
    Site.model = model.read_bytes()
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        Thread(target=server.serve_forever, args=(0.05,)).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.mark.parametrize("name", ["m.onnx", "moved.onnx", "m.onnx?download=1", "..%2Fup.onnx"])
def test_model_is_downloaded(own: Path, model: Path, site: str, name: str) -> None:
    done = run_cli("styles", "add", f"{site}/{name}", "--allow-network", "--sha256", sha256(model))
    assert (done.returncode, done.stdout) == (0, "tiny\n"), done.stderr
    assert listing(own) == ["catalog.json", "tiny.onnx"]
    assert (own / "tiny.onnx").read_bytes() == model.read_bytes()


def test_download_with_another_hash_leaves_nothing(own: Path, model: Path, site: str) -> None:
    given = ["--allow-network", "--sha256", "0" * 64]
    refused(MODEL, "add", f"{site}/m.onnx", *given, message=f"{'0' * 64}, got {sha256(model)}")
    assert listing(own) == []


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.onnx", "404"), ("cut.onnx", "too early"), ("to-file.onnx", "file:"), ("to-ftp.onnx", "ftp")],
)
def test_failed_download_is_one_sentence(own: Path, model: Path, site: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        install(f"{site}/{name}", {}, sha256=sha256(model), allow_network=True)
    assert "\n" not in str(caught.value)
    assert listing(own) == []


def test_refused_connection_is_reported(own: Path, site: str, model: Path) -> None:
    refused(
        FAILED, "add", "http://127.0.0.1:9/m.onnx", "--allow-network", "--sha256", sha256(model), message="Connection refused"
    )


@pytest.mark.parametrize("name", ["dripping.onnx", "dripping-headers.onnx"])
def test_download_that_drips_is_given_up(own: Path, model: Path, site: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(downloading, "MAX_SECONDS", 0.3)
    with pytest.raises(InputError, match=r"not finished after 0\.3 s"):
        install(f"{site}/{name}", {}, sha256=sha256(model), allow_network=True)
    assert listing(own) == []


def test_download_that_stalls_is_given_up(own: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloading, "STALL_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/m.onnx"
        with pytest.raises(InputError, match=r"nothing arrived for 0\.3 s"):
            install(url, {}, sha256=sha256(model), allow_network=True)
    assert listing(own) == []


def test_download_can_be_interrupted(own: Path, model: Path, site: str) -> None:
    asked = iter(range(5))

    def check() -> None:
        if next(asked, None) is None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(f"{site}/dripping.onnx", {}, sha256=sha256(model), allow_network=True, check=check)
    assert listing(own) == []


def test_download_is_limited(own: Path, model: Path, site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "MAX_MODEL_BYTES", 1000)
    with pytest.raises(StyleError, match="at most"):
        install(f"{site}/m.onnx", {}, sha256=sha256(model), allow_network=True)
    assert listing(own) == []


# Verifying and removing styles


def test_verify_accepts_intact_styles(own: Path, model: Path) -> None:
    install(str(model), {})
    done = run_cli("styles", "verify")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines() == [f"{name}: ok" for name in sorted([*SHIPPED, "tiny"])]
    assert run_cli("styles", "verify", "tiny", "scream").stdout.splitlines() == ["tiny: ok", "scream: ok"]


def with_exemplar(own: Path) -> None:
    (own / "tiny.jpg").write_bytes(b"an image")
    add_style(own, "tiny", {**read_catalog(own)["tiny"], "exemplar": {"file": "tiny.jpg", "sha256": sha256(own / "tiny.jpg")}})


def lost(own: Path) -> str:
    (own / "tiny.onnx").unlink()
    return "is missing"


def altered(own: Path) -> str:
    (own / "tiny.onnx").write_bytes(b"altered")
    return "does not match the sha256"


def paints_black(own: Path) -> str:
    black(own / "tiny.onnx")
    give_files(own, "tiny", sha256=sha256(own / "tiny.onnx"))
    return "single colour"


def other_exemplar(own: Path) -> str:
    (own / "tiny.jpg").write_bytes(b"another image")
    return "exemplar of style 'tiny' does not match the sha256"


@pytest.mark.parametrize("harm", [lost, altered, paints_black, other_exemplar])
def test_verify_reports_what_is_wrong(own: Path, model: Path, harm: Callable[[Path], str]) -> None:
    install(str(model), {})
    with_exemplar(own)
    message = harm(own)
    done = run_cli("styles", "verify")
    assert done.returncode == MODEL
    [line] = [line for line in done.stdout.splitlines() if not line.endswith(": ok")]
    assert line.startswith("tiny: ")
    assert message in line
    assert len(done.stdout.splitlines()) == len(SHIPPED) + 1


def test_verify_reports_an_unknown_style(own: Path) -> None:
    done = run_cli("styles", "verify", "mosiac", "mosaic")
    assert done.returncode == MODEL
    unknown, well = done.stdout.splitlines()
    assert "did you mean mosaic" in unknown
    assert well == "mosaic: ok"


def test_removed_style_leaves_nothing(own: Path, model: Path, examples: Path) -> None:
    place(own, examples, "other")
    install(str(model), {})
    with_exemplar(own)
    assert run_cli("styles", "remove", "tiny").returncode == 0
    assert listing(own) == ["catalog.json", "other.pth"]
    assert set(all_styles()) == {*SHIPPED, "other"}


def test_shipped_style_is_used_again_after_the_users_is_removed(own: Path, model: Path) -> None:
    install(str(model), {}, name="mosaic", overwrite=True)
    assert run_cli("styles", "remove", "mosaic").returncode == 0
    assert find_style("mosaic") == shipped_folder() / "mosaic.onnx"
    refused(MODEL, "remove", "mosaic", message="is shipped with vidstyle")
    assert find_style("mosaic").is_file()


def test_files_of_other_styles_are_kept(tmp_path: Path, own: Path, model: Path) -> None:
    install(str(model), {})
    outside = Path(shutil.copy(model, tmp_path / "mine" / "outside.onnx"))
    add_style(own, "again", read_catalog(own)["tiny"])
    add_style(own, "elsewhere", {"file": "../outside.onnx", "sha256": sha256(outside)})
    for name in ("again", "elsewhere"):
        assert run_cli("styles", "remove", name).returncode == 0
    assert find_style("tiny").is_file()
    assert outside.is_file()


def test_unknown_style_cannot_be_removed(own: Path) -> None:
    refused(MODEL, "remove", "tiny", message="unknown style 'tiny'")
    assert not own.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_full_disk_leaves_the_styles_unchanged(own: Path, model: Path, examples: Path) -> None:
    def no_room() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40, 40))

    install(str(model), {})
    place(own, examples, "other")
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    refused(DISK, "remove", "tiny", message=str(own), preexec_fn=no_room)
    refused(DISK, "add", model, "--overwrite", message=str(own), preexec_fn=no_room)
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before
