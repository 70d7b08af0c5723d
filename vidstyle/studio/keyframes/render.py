"""Stylize a video by its keyframes: file in, file out, with a working folder between."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from vidstyle.conversion.convert import Conversion, Result, input_files
from vidstyle.conversion.interrupts import InterruptibleReporter, Interrupts, NoInterrupts
from vidstyle.conversion.job import Job, JobResult, Reporter
from vidstyle.conversion.output_name import default_name
from vidstyle.core.compositing import ColorPreserver, MaskPostProcessor
from vidstyle.core.errors import UsageError
from vidstyle.core.file_identity import FileIdentity, check_unchanged
from vidstyle.core.files import beside, check_regular_file, is_url
from vidstyle.core.frames import Pixels
from vidstyle.core.options import ConvertOptions, KeyframeOptions, PaintOptions, StyleOptions, Trim
from vidstyle.core.protocols import PostProcessor
from vidstyle.sinks import check_encoding, check_free, check_not_read
from vidstyle.sources import is_image, open_source
from vidstyle.sources.mask import read_mask
from vidstyle.studio.optimize.paint import requires_torch
from vidstyle.styles.catalog import sha256
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.propagation import KeyframePropagator

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KeyframePaths:
    """The files of a video that is stylized by its keyframes."""

    input: str
    output: Path | None = None
    """None: `in.mp4` becomes `in.STYLE.mp4` beside it."""
    work: Path | None = None
    """The working folder; None: `OUTPUT.keyframes`."""
    mask: Path | None = None
    """An image: white is stylized, black stays as it is."""


def stylize_with_keyframes(
    paths: KeyframePaths,
    style: str,
    paint_options: PaintOptions,
    keyframe_options: KeyframeOptions,
    convert_options: ConvertOptions,
    reporter: Reporter,
    interrupts: Interrupts = NoInterrupts(),
) -> Result:
    """Stylize a video file in `style` (see `style_images.find_style_images`); the output is written whole or not at all.

    Raises the errors of `vidstyle.core.errors`; keyframes that are stylized by then stay in the working folder.
    """
    input, output = paths.input, paths.output
    reporter = InterruptibleReporter(reporter, interrupts)
    with requires_torch("vidstyle keyframes"):
        from vidstyle.studio.keyframes.plan import choose_keyframes
        from vidstyle.studio.keyframes.stylize import KeyframeOptimization, fine_tuned_net
        from vidstyle.studio.keyframes.work_folder import WorkFolder, files_written
        from vidstyle.studio.perceptual.encoder import find_encoder
        from vidstyle.studio.style_images import find_style_images, label, style_image_files
    if is_url(input) or is_image(input) or os.path.isdir(input):
        raise UsageError(f"expected one video file, which is read several times, got {input}; for an image: vidstyle paint")
    check_regular_file(Path(input))
    files = input_files(input, convert_options)
    output = output or Path(input).with_name(default_name(input, label(style)))
    # Checked before hours of work that a failure would waste.
    check_encoding(output, convert_options.encode)
    work = paths.work or beside(output, "", ".keyframes")
    reads = [("input", input), ("mask", paths.mask), *(("style image", path) for path in style_image_files(style))]
    for written in (output, *files_written(work)):
        check_not_read(written, reads)
    check_free(output, convert_options.overwrite)
    style_images = find_style_images(style)
    find_encoder(paint_options.encoder)  # may download it, while there is nothing to clean up
    interrupts.hold()
    frames = partial(_frames, input, convert_options.trim, files)
    mask = None
    if paths.mask is not None:
        with closing(frames()) as clip:
            mask = read_mask(paths.mask, next(clip))
    folder = WorkFolder(work)
    origin = f"{sha256(Path(input))} {convert_options.trim}"
    try:
        plan = choose_keyframes(folder, frames, origin, keyframe_options, reporter.stage)
        keyframes = KeyframeOptimization(folder, plan, style_images, paint_options, reporter.stage, mask)
        keyframes.run()
        net = fine_tuned_net(folder, plan, keyframes, keyframe_options, reporter.stage)
    except KeyboardInterrupt:
        log.warning("the keyframes stylized so far are kept in %s; the same command resumes from there", folder.path)
        raise
    post_processors: list[PostProcessor] = []
    if keyframe_options.propagation == "warp":
        post_processors.append(KeyframePropagator(plan.keyframes, plan.shots, keyframes.load))
    post_processors += [ColorPreserver()] if paint_options.preserve_color else []
    post_processors += [MaskPostProcessor(mask)] if mask is not None else []
    job = Job(input, output)
    stylizer = load_stylizer(StyleOptions(style=str(net), device=keyframe_options.device))
    with closing(Conversion(input, output, stylizer, convert_options, post_processors, files=files)) as conversion:
        reporter.start(job, conversion.info)
        conversion.run(lambda count: reporter.frame(job, count))
        result = conversion.publish()
    reporter.done(JobResult(job, result))
    return result


def _frames(input: str, trim: Trim, files: Sequence[FileIdentity]) -> Generator[Pixels, None, None]:
    with closing(open_source(input, trim)) as source:
        check_unchanged(files)
        for frame in source.frames():
            yield frame.pixels
        check_unchanged(files)
