"""`vidstyle INPUT ...`: parse -> options -> one library call -> exit code."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from vidstyle.cli.completion import complete_files, complete_styles
from vidstyle.cli.options import (
    BACKEND_OPTION,
    CLUSTER,
    DEVICE_OPTION,
    ENCODING_OPTIONS,
    FOLDERS,
    INPUT_OUTPUT,
    MEMORY,
    NETWORK_OPTION,
    OTHER,
    PERFORMANCE,
    PROGRESS_OPTION,
    QUIET_OPTION,
    REPORT_OPTION,
    SECONDS,
    STYLE,
    TIME_RANGE,
    TRIM_OPTIONS,
    VIDEO,
    Command,
    Finite,
    options_from,
    panel,
    trim_from,
)
from vidstyle.cli.output import print_error, print_line
from vidstyle.cli.shared import print_report, run_with_reporter
from vidstyle.cli.signals import Signals
from vidstyle.core.errors import EXIT_DAMAGE, EXIT_DONE, EXIT_FAILED, UsageError, VidstyleError
from vidstyle.core.options import (
    MAX_BATCH_SIZE,
    MEMORY_FRACTION,
    STRENGTH_RANGE,
    STROKE_SCALE_RANGE,
    BatchOptions,
    ClusterOptions,
    ConvertOptions,
    EncodeOptions,
    Selection,
    StyleOptions,
)
from vidstyle.styles.spec import parse_style, parse_timeline

if TYPE_CHECKING:
    from vidstyle.batch.session import JobDescription, Session
    from vidstyle.cli.reporters import QuietReporter


@click.command(
    cls=Command,
    hidden=True,
    examples=[
        "vidstyle in.mp4",
        "vidstyle in.mp4 --style scream --sample 5 -o out.mp4",
        "vidstyle videos/ --recursive --style udnie -o stylized/",
    ],
)
@click.argument("inputs", nargs=-1, metavar="INPUT [INPUT ...]", shell_complete=complete_files)
@panel(
    INPUT_OUTPUT,
    click.option(
        "-o",
        "--output",
        metavar="PATH",
        shell_complete=complete_files,
        show_default="INPUT.STYLE beside the input",
        help="Output file, folder, or template such as {folder}/{stem}.{style}{ext} or {name}.",
    ),
    click.option("--overwrite", is_flag=True, help="Replace outputs that exist."),
    click.option("--resume", is_flag=True, help="Keep finished segments of the output, and continue an interrupted run."),
    NETWORK_OPTION,
)
@panel(
    STYLE,
    click.option(
        "--style",
        "styles",
        multiple=True,
        shell_complete=complete_styles,
        help="Style name, model file, or blend such as mosaic:0.6,scream:0.4. Repeat it for one output per style. "
        f"[default: {StyleOptions.style}]",
    ),
    click.option(
        "--timeline", default=None, metavar="TIME:STYLE,...", help="Change the style over time, as in 0:mosaic,10:scream."
    ),
    click.option(
        "--fade",
        type=SECONDS,
        default=StyleOptions.fade,
        show_default=True,
        help="Length of the cross-fade between styles of a timeline.",
    ),
    click.option(
        "--strength",
        type=Finite(*STRENGTH_RANGE),
        default=StyleOptions.strength,
        show_default=True,
        help="Strength of the style, from 0 (the original) to 1.",
    ),
    click.option(
        "--stroke-scale",
        type=Finite(*STROKE_SCALE_RANGE),
        default=StyleOptions.stroke_scale,
        show_default=True,
        help="Scale the size of the strokes; the output keeps its size.",
    ),
    click.option(
        "--stabilize",
        type=click.Choice(["off", "light", "strong"]),
        default=ConvertOptions.stabilize,
        show_default=True,
        help="Reduce flicker by warping strokes along with the motion. This is slower.",
    ),
    click.option("--preserve-color", is_flag=True, help="Keep the colours of the original."),
    click.option(
        "--mask",
        default=None,
        metavar="FILE",
        help="Only stylize the white areas of this image, or of this video of the same length.",
    ),
    click.option(
        "--model-color",
        type=click.Choice(["rgb", "bgr"]),
        default=StyleOptions.model_color,
        show_default=True,
        help="Channel order of a model that was not made by vidstyle.",
    ),
)
@panel(VIDEO, *ENCODING_OPTIONS)
@panel(TIME_RANGE, *TRIM_OPTIONS)
@panel(
    PERFORMANCE,
    DEVICE_OPTION,
    BACKEND_OPTION,
    click.option(
        "--height",
        type=int,
        default=StyleOptions.height,
        show_default="the input's height",
        help="Height at which the network runs; the output keeps its size.",
    ),
    click.option(
        "--batch-size",
        type=click.IntRange(1, MAX_BATCH_SIZE),
        metavar="N",
        default=ConvertOptions.batch_size,
        show_default=True,
        help="Number of frames per run of the network.",
    ),
    click.option(
        "--memory",
        type=MEMORY,
        default=ConvertOptions.memory,
        show_default=f"{MEMORY_FRACTION:.0%} of the machine's",
        help="Memory limit, such as 4G; larger frames are stylized one at a time, then at a smaller height.",
    ),
)
@panel(
    FOLDERS,
    click.option(
        "-a", "--list", "lists", multiple=True, metavar="FILE", help="Read inputs from this file, one per line; - reads stdin."
    ),
    click.option("-r", "--recursive", is_flag=True, help="Process subfolders too."),
    click.option(
        "--include", multiple=True, metavar="PATTERN", help="Only process files that match PATTERN, such as '*.mov' or 'day1/*'."
    ),
    click.option("--exclude", multiple=True, metavar="PATTERN", help="Do not process files that match PATTERN."),
    click.option("--skip-existing", is_flag=True, help="Skip inputs whose output exists."),
    click.option("--watch", is_flag=True, help="Keep running, and process files that arrive in the folders."),
)
@panel(
    CLUSTER,
    click.option(
        "--workers",
        type=click.IntRange(1),
        metavar="N",
        default=ClusterOptions.workers,
        help="Number of worker processes, which share long videos.",
    ),
    click.option(
        "--cluster",
        metavar="ADDRESS",
        default=ClusterOptions.address,
        help="Run the workers on a Ray cluster: local, auto or ray://HOST:PORT.",
    ),
    click.option(
        "--chunk",
        "chunk_seconds",
        type=SECONDS,
        default=ClusterOptions.chunk_seconds,
        show_default=True,
        help="Length of the chunks that a long video is divided into.",
    ),
)
@panel(
    OTHER,
    REPORT_OPTION,
    click.option("--dry-run", is_flag=True, help="Print what would be done without doing it."),
    PROGRESS_OPTION,
    QUIET_OPTION,
    click.option("-v", "--verbose", is_flag=True, help="Print more details."),
)
@click.pass_obj
def convert(signals: Signals, /, progress: str, quiet: bool, verbose: bool, **values: Any) -> int:
    """Turn videos and images, or all of those in a folder, into stylized ones.

    The output of in.mp4 is in.STYLE.mp4 beside it, with the same audio, timing and size. Existing files are not overwritten.
    """
    level = logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    return run_with_reporter(signals, progress, quiet, level, lambda reporter: _convert(values, reporter, signals))


def _convert(values: dict[str, Any], reporter: QuietReporter, signals: Signals) -> int:
    from vidstyle.batch.session import Session

    styles = _styles(values["styles"], values["timeline"])
    options, batch = _convert_options(styles[0], values), _batch_options(values)
    session = Session(values["inputs"], styles, options, batch, reporter, signals)
    if values["watch"] and values["dry_run"]:
        raise UsageError("expected --watch or --dry-run, got both")
    if values["dry_run"]:
        code = _print_descriptions(session.describe())
        return EXIT_DAMAGE if _lacks_folders(session, reporter) and code == EXIT_DONE else code
    if values["watch"]:
        session.watch()
        return EXIT_DONE
    job_results = session.run()
    print_report(job_result.result for job_result in job_results if job_result.result)
    if len(job_results) > 1:
        reporter.summary(job_results)
    damaged = _lacks_folders(session, reporter) or any(o.result and o.result.damage for o in job_results)
    return _exit_code([job_result.error for job_result in job_results], damaged)


def _lacks_folders(session: Session, reporter: QuietReporter) -> bool:
    """Whether folders could not be read, which is reported even if quiet."""
    if session.unreadable:
        folders = ", ".join(sorted(session.unreadable))
        reporter.write_line(f"warning: the files in {folders} were left out, which could not be read")
    return bool(session.unreadable)


def _styles(styles: tuple[str, ...], timeline: str | None) -> tuple[str, ...]:
    """The styles, or the timeline as the only one; raises `UsageError` where they cannot be parsed."""
    if timeline is not None:
        if styles:
            raise UsageError("expected --style or --timeline, got both")
        parse_timeline(timeline)
        return (timeline,)
    for style in styles:
        parse_style(style)
    return styles or (StyleOptions.style,)


def _convert_options(style: str, values: dict[str, Any]) -> ConvertOptions:
    return ConvertOptions(
        style=StyleOptions(style=style, **options_from(StyleOptions, values)),
        encode=EncodeOptions(**options_from(EncodeOptions, values)),
        trim=trim_from(values),
        audio=not values["no_audio"],
        subtitles=not values["no_subtitles"],
        **options_from(ConvertOptions, values),
    )


def _batch_options(values: dict[str, Any]) -> BatchOptions:
    selection = Selection(**options_from(Selection, values))
    cluster = ClusterOptions(values["workers"], values["cluster"], values["chunk_seconds"])
    return BatchOptions(values["output"], selection, values["lists"], cluster)


def _print_descriptions(descriptions: Iterable[JobDescription]) -> int:
    errors: list[VidstyleError | None] = []
    for description in descriptions:
        errors.append(description.error)
        if description.error is not None:
            print_error(description.error)
            continue
        print_line(description.summary)
        for line in description.streams:
            print_line(f"  {line}")
    return _exit_code(errors)


def _exit_code(errors: Sequence[VidstyleError | None], damaged: bool = False) -> int:
    """The exit code of a run with the `errors` of its jobs, None for each one without. `damaged`: outputs lack something."""
    failed = [error for error in errors if error is not None]
    if not failed:
        return EXIT_DAMAGE if damaged else EXIT_DONE
    if len(errors) == 1:
        return failed[0].exit_code
    return EXIT_FAILED if len(failed) == len(errors) else EXIT_DAMAGE
