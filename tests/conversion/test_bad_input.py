"""Invalid input ends with a one-line error and the documented exit code, and leaves nothing behind."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tests.support.helpers import frames_of, identity_model, listing, noise, run_cli, save_model, write_audio, write_clip

FAILED, USAGE, DAMAGE, MODEL, DISK = 1, 2, 3, 4, 5


def assert_refused(folder: Path, code: int, *args: object, message: str = "", **options: Any) -> None:
    """`vidstyle -q ARGS` returns `code`, prints one line (that contains `message`) and leaves `folder` unchanged."""
    before = listing(folder)
    contents = [(p, p.read_bytes()) for p in folder.rglob("*") if p.is_file()]
    done = run_cli("-q", *args, cwd=folder, **options)
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    assert message in lines[0]
    assert done.stdout == ""
    assert listing(folder) == before
    assert all(p.read_bytes() == data for p, data in contents)


def nothing(folder: Path) -> str:
    return "missing.mp4"


def empty_folder(folder: Path) -> str:
    (folder / "empty").mkdir()
    return "empty"


def folder_without_videos(folder: Path) -> str:
    (folder / "notes").mkdir()
    (folder / "notes" / "notes.txt").write_text("hello")
    return "notes"


def folder_named_like_a_video(folder: Path) -> str:
    (folder / "in.mp4").mkdir()
    return "in.mp4"


def audio_only(folder: Path) -> str:
    return write_audio(folder / "in.mp4").name


def zero_bytes(folder: Path) -> str:
    (folder / "in.mp4").touch()
    return "in.mp4"


def text(folder: Path) -> str:
    (folder / "in.mp4").write_text("This is not a video.\n" * 100)
    return "in.mp4"


def binary_rubbish(folder: Path) -> str:
    (folder / "in.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    return "in.mp4"


def mp4_without_its_index(folder: Path) -> str:
    whole = write_clip(folder / "in.mp4", image=noise).read_bytes()
    (folder / "in.mp4").write_bytes(whole[: len(whole) // 2])
    return "in.mp4"


def playlist_of_another_file(folder: Path) -> str:
    write_clip(folder / "other.mp4", times=range(4))
    (folder / "in.mp4").write_text("ffconcat version 1.0\nfile 'other.mp4'\n")
    return "in.mp4"


def hls_playlist(folder: Path) -> str:
    write_clip(folder / "other.ts", times=range(4))
    (folder / "in.mp4").write_text(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:0.2,\nother.ts\n#EXT-X-ENDLIST\n"
    )
    return "in.mp4"


def broken_image(folder: Path) -> str:
    (folder / "in.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    return "in.png"


def dangling_link(folder: Path) -> str:
    (folder / "in.mp4").symlink_to("nowhere.mp4")
    return "in.mp4"


BAD_INPUTS = [nothing, empty_folder, folder_without_videos, folder_named_like_a_video, audio_only, zero_bytes, text,
              binary_rubbish, mp4_without_its_index, playlist_of_another_file, hls_playlist, broken_image,
              dangling_link]  # fmt: skip


@pytest.mark.parametrize("make", BAD_INPUTS, ids=lambda make: make.__name__)
def test_bad_input_is_refused(tmp_path: Path, make: Callable[[Path], str]) -> None:
    name = make(tmp_path)
    assert_refused(tmp_path, FAILED, name, "--style", "tiny", message=name)


def test_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "in.mp4")
    done = run_cli("in.mp4", "--style", "tiny", cwd=tmp_path)
    assert done.returncode == FAILED
    assert listing(tmp_path) == ["in.mp4"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/in.mp4", "rtsp://127.0.0.1:9/in", "ftp://127.0.0.1:9/in.mp4"])
def test_url_needs_allow_network(tmp_path: Path, url: str) -> None:
    assert_refused(tmp_path, USAGE, url, "--style", "tiny", message="--allow-network")


def test_unreachable_url_is_a_bad_input(tmp_path: Path) -> None:
    assert_refused(tmp_path, FAILED, "http://127.0.0.1:9/in.mp4", "--allow-network", "--style", "tiny", message="127.0.0.1:9")


@pytest.mark.parametrize("part", [0.5, 0.8])
@pytest.mark.parametrize("name", ["in.mp4", "in.mkv"])
def test_truncated_file_is_stylized_as_far_as_possible_and_reported(tmp_path: Path, name: str, part: float) -> None:
    options = {"movflags": "+faststart"} if name.endswith("mp4") else {}
    clip = write_clip(tmp_path / name, times=range(120), image=noise, container_options=options)
    whole = clip.read_bytes()
    clip.write_bytes(whole[: int(part * len(whole))])
    done = run_cli(clip, "--style", "tiny", "-q")
    assert done.returncode == DAMAGE
    assert len(done.stderr.splitlines()) in (1, 2)
    assert "cut off" in done.stderr
    assert "Traceback" not in done.stderr
    stylized = len(frames_of(clip.with_stem(clip.stem + ".tiny")))
    assert 0.6 * part * 120 < stylized < 120


def test_damaged_packets_lose_only_their_frames(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(48), image=noise, options={"g": "4"})
    data = bytearray(clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 3000] = bytes(3000)
    clip.write_bytes(data)
    done = run_cli(clip, "--style", "tiny", "-q")
    assert done.returncode in (0, DAMAGE)  # the decoder may conceal all damage
    assert "Traceback" not in done.stderr
    assert len(frames_of(tmp_path / "in.tiny.mp4")) > 24


def test_unknown_style_error_suggests_similar_names(clip: Path) -> None:
    assert_refused(clip.parent, MODEL, clip, "--style", "tniy", message="did you mean tiny?")


def test_altered_model_is_refused(clip: Path, styles: Path, tmp_path: Path) -> None:
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "catalog.json").write_bytes((styles / "catalog.json").read_bytes())
    (tmp_path / "styles" / "tiny.onnx").write_bytes((styles / "tiny.onnx").read_bytes() + b"\x00")
    assert_refused(clip.parent, MODEL, clip, "--style", "tiny", message="tiny", env={"VIDSTYLE_STYLES": str(tmp_path / "styles")})


def missing_model(folder: Path, styles: Path) -> None:
    pass


def rubbish_model(folder: Path, styles: Path) -> None:
    (folder / "bad.onnx").write_bytes(np.random.default_rng(1).bytes(5000))


def empty_model(folder: Path, styles: Path) -> None:
    (folder / "bad.onnx").touch()


def truncated_model(folder: Path, styles: Path) -> None:
    data = (styles / "tiny.onnx").read_bytes()
    (folder / "bad.onnx").write_bytes(data[: len(data) // 2])


def model_of_integers(folder: Path, styles: Path) -> None:
    save_model(folder / "bad.onnx", [helper.make_node("Identity", ["x"], ["y"])], kind=TensorProto.INT64)


def model_of_vectors(folder: Path, styles: Path) -> None:
    identity_model(folder / "bad.onnx", shape=("n", 3))


def model_of_grey_images(folder: Path, styles: Path) -> None:
    identity_model(folder / "bad.onnx", shape=("n", 1, "h", "w"))


def model_with_an_operator_of_its_own(folder: Path, styles: Path) -> None:
    save_model(folder / "bad.onnx", [helper.make_node("Surprise", ["x"], ["y"], domain="com.example")])


def model_with_an_operator_of_its_own_in_a_branch(folder: Path, styles: Path) -> None:
    inner = helper.make_node("Surprise", ["x"], ["z"], domain="com.example")
    save_model(folder / "bad.onnx", _branch([inner], []), {"yes": np.array(True)})


def _branch(nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> list[onnx.NodeProto]:
    output = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    branch = helper.make_graph(nodes, "branch", [], [output], constants)
    return [helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)]


def _outside_tensor(folder: Path) -> onnx.TensorProto:
    (folder / "secret.bin").write_bytes(np.arange(3, dtype=np.float32).tobytes())
    tensor = numpy_helper.from_array(np.zeros((1, 3, 1, 1), np.float32), "add")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="secret.bin")
    return tensor


def model_with_data_elsewhere(folder: Path, styles: Path) -> None:
    model = onnx.load(save_model(folder / "bad.onnx", [helper.make_node("Add", ["x", "add"], ["y"])]))
    model.graph.initializer.append(_outside_tensor(folder))
    (folder / "bad.onnx").write_bytes(model.SerializeToString())


def model_with_data_elsewhere_in_a_branch(folder: Path, styles: Path) -> None:
    add = helper.make_node("Add", ["x", "add"], ["z"])
    model = onnx.load(save_model(folder / "bad.onnx", _branch([add], []), {"yes": np.array(True)}))
    for attribute in model.graph.node[0].attribute:
        attribute.g.initializer.append(_outside_tensor(folder))
    (folder / "bad.onnx").write_bytes(model.SerializeToString())


BAD_MODELS = [missing_model, rubbish_model, empty_model, truncated_model, model_of_integers, model_of_vectors,
              model_of_grey_images, model_with_an_operator_of_its_own, model_with_an_operator_of_its_own_in_a_branch,
              model_with_data_elsewhere, model_with_data_elsewhere_in_a_branch]  # fmt: skip


@pytest.mark.parametrize("make", BAD_MODELS, ids=lambda make: make.__name__)
def test_bad_models_are_refused(clip: Path, styles: Path, make: Callable[[Path, Path], None]) -> None:
    make(clip.parent, styles)
    assert_refused(clip.parent, MODEL, clip, "--style", "./bad.onnx", message="bad.onnx")


@pytest.mark.parametrize("device", ["banana", "cuda:x"])
def test_unknown_device_is_refused(clip: Path, device: str) -> None:
    assert_refused(clip.parent, MODEL, clip, "--style", "tiny", "--device", device, message=device)


def test_existing_output_is_kept_without_overwrite(clip: Path) -> None:
    clip.with_name("in.tiny.mp4").write_text("precious")
    assert_refused(clip.parent, FAILED, clip, "--style", "tiny", message="--overwrite")


@pytest.mark.parametrize("link", [None, os.symlink, os.link], ids=["same name", "symbolic link", "hard link"])
@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)], ids=["", "overwrite"])
def test_input_is_never_overwritten(clip: Path, link: Callable[..., None] | None, overwrite: tuple[str, ...]) -> None:
    output = clip if link is None else clip.with_name("other.mp4")
    if link is not None:
        link(clip, output)
    assert_refused(clip.parent, FAILED, clip, "-o", output, *overwrite, "--style", "tiny", message="the output is the input")


def test_output_that_is_a_folder_is_refused(clip: Path) -> None:
    (clip.parent / "in.tiny.mp4").mkdir()
    assert_refused(clip.parent, FAILED, clip, "--style", "tiny", "--overwrite", message="folder")


def test_unsupported_output_format_is_refused(clip: Path) -> None:
    assert_refused(clip.parent, USAGE, clip, "-o", "out.wmv", "--style", "tiny", message="out.wmv")


def test_audio_unsupported_by_the_container_is_converted_and_reported(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "in.mkv", times=range(24), audio=["eng"], audio_codec="wavpack")
    done = run_cli(clip, "-o", tmp_path / "out.mp4", "--style", "tiny")
    assert done.returncode == 0, done.stderr
    assert "converted" in done.stderr
    assert "AAC" in done.stderr
    with av.open(str(tmp_path / "out.mp4")) as container:
        (track,) = container.streams.audio
        assert track.codec_context.name == "aac"
        assert track.language == "eng"
        seconds = sum(frame.samples for frame in container.decode(audio=0)) / track.rate
    assert abs(seconds - 1) < 0.1


def test_output_below_a_file_is_refused(clip: Path) -> None:
    assert_refused(clip.parent, DISK, clip, "-o", clip / "sub" / "out.mp4", "--style", "tiny", message="in.mp4")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder in which root cannot write either: /proc")
def test_unwritable_folder_is_refused(clip: Path) -> None:
    assert_refused(clip.parent, DISK, clip, "-o", "/proc/out.mp4", "--style", "tiny", message="/proc")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission_is_refused(clip: Path) -> None:
    (clip.parent / "locked").mkdir(mode=0o500)
    assert_refused(clip.parent, DISK, clip, "-o", "locked/out.mp4", "--style", "tiny", message="permission")


def _small_files_only(limit: int) -> Callable[[], None]:
    def limit_files() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return limit_files


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("limit", [0, 40, 4096, 100_000])
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv", "out.mov"])
def test_full_disk(tmp_path: Path, name: str, limit: int) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(24), size=(160, 120), audio=["eng"], image=noise)
    assert_refused(tmp_path, DISK, clip, "-o", name, "--crf", 4, "--style", "tiny", message=name,
                   preexec_fn=_small_files_only(limit))  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_disk_full_at_the_end(tmp_path: Path, name: str) -> None:
    clip = write_clip(tmp_path / "in.mp4", times=range(24), size=(160, 120), audio=["eng"], image=noise)
    assert run_cli(clip, "-o", tmp_path / name, "--style", "tiny").returncode == 0
    limit = (tmp_path / name).stat().st_size - 50
    (tmp_path / name).unlink()
    assert_refused(tmp_path, DISK, clip, "-o", name, "--style", "tiny", message=name, preexec_fn=_small_files_only(limit))


@pytest.mark.skipif(sys.platform == "win32", reason="needs RLIMIT_FSIZE")
def test_full_disk_for_an_image(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "in.png"), noise(0, 200, 200))
    assert_refused(tmp_path, DISK, "in.png", "--style", "tiny", message="in.tiny.png", preexec_fn=_small_files_only(4096))
