"""A video stylized by its keyframes: file in, file out, with a working folder between."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

from vidstyle.conversion.convert import Conversion, Result, check_not_itself
from vidstyle.conversion.job import Job, JobResult, Reporter
from vidstyle.conversion.output_name import default_name
from vidstyle.core.compositing import Masked, OwnColors
from vidstyle.core.errors import UsageError
from vidstyle.core.files import check_regular_file, is_url
from vidstyle.core.frames import Pixels
from vidstyle.core.options import ConvertOptions, KeyframeOptions, PaintOptions, StyleOptions
from vidstyle.core.protocols import PostProcessor
from vidstyle.sinks import check_encoding, check_free
from vidstyle.sources import is_image, open_source
from vidstyle.sources.mask import read_mask
from vidstyle.studio.optimize.paint import requires_torch
from vidstyle.styles.catalog import sha256
from vidstyle.stylizers import load_stylizer
from vidstyle.temporal.propagation import Propagation

log = logging.getLogger(__name__)


def stylize_with_keyframes(
    input: str,
    style: str,
    output: Path | None,
    paint: PaintOptions,
    options: KeyframeOptions,
    convert_options: ConvertOptions,
    work: Path | None,
    mask: Path | None,
    reporter: Reporter,
    held: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> Result:
    """Paint the video file `input` in `style` (see `studio.paintings.find_style_images`) into `output`, whole or not at all.

    Without `output`, `in.mp4` becomes `in.STYLE.mp4` beside it, without `work` the working folder is `OUTPUT.keyframes`.
    Raises the kinds of `vidstyle.core.errors`; what was stylized by then stays in the working folder. Once all keyframes are, the rest
    is done inside `held()`, where signals may wait for the frame in flight.
    """
    with requires_torch("painting keyframes"):
        from vidstyle.studio.keyframes.stylize import KeyframeOptimization, choose_keyframes, fine_tuned_net
        from vidstyle.studio.keyframes.work_folder import WorkFolder
        from vidstyle.studio.style_images import find_style_images, label
    if is_url(input) or is_image(input) or Path(input).is_dir():
        raise UsageError(f"expected one video file, which is read several times, got {input}; for an image: vidstyle paint")
    check_regular_file(Path(input))
    output = output or Path(input).with_name(default_name(input, label(style)))
    # Before hours of work: whatever would make it be in vain.
    check_encoding(output, convert_options.encode)
    check_not_itself(input, output)
    check_free(output, convert_options.overwrite)
    paintings = find_style_images(style)

    def frames() -> Generator[Pixels, None, None]:
        with closing(open_source(input, convert_options.trim)) as source:
            for frame in source.frames():
                yield frame.pixels

    where = None
    if mask is not None:
        with closing(frames()) as clip:
            where = read_mask(mask, next(clip))
    folder = WorkFolder(work or output.with_name(f"{output.name}.keyframes"))
    origin = f"{sha256(Path(input))} {convert_options.trim}"
    try:
        plan = choose_keyframes(folder, frames, origin, options, reporter.stage)
        keyframes = KeyframeOptimization(folder, plan, paintings, paint, reporter.stage, where)
        keyframes.run()
        net = fine_tuned_net(folder, plan, keyframes, options, reporter.stage)
    except KeyboardInterrupt:
        log.warning("what was stylized so far is kept in %s; the same command goes on from there", folder.path)
        raise
    post_processors: list[PostProcessor] = []
    if options.propagation == "warp":
        post_processors.append(Propagation(plan.keyframes, plan.shots, keyframes.load))
    post_processors += [OwnColors()] if paint.preserve_color else []
    post_processors += [Masked(where)] if where is not None else []
    job = Job(input, output)

    def on_frame(count: int) -> None:
        reporter.frame(job, count)

    with held():
        stylizer = load_stylizer(StyleOptions(style=str(net), device=options.device))
        with closing(Conversion(input, output, stylizer, convert_options, post_processors)) as conversion:
            reporter.start(job, conversion.info)
            conversion.run(on_frame)
            result = conversion.publish()
        reporter.done(JobResult(job, result))
    return result
