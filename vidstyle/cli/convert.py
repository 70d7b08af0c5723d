"""`vidstyle INPUT ...`: parse -> options -> one library call -> exit code."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import click

from vidstyle.cli.shared import SECONDS, Finite, encoding_options, report_line, run_with_reporter, trim_from
from vidstyle.cli.signals import InterruptibleReporter, Signals
from vidstyle.core.errors import EXIT_DAMAGE, EXIT_DONE, EXIT_FAILED, UsageError, VidstyleError
from vidstyle.core.options import STROKE_SCALES, ClusterOptions, ConvertOptions, EncodeOptions, Selection, StyleOptions
from vidstyle.styles.spec import parse_style, parse_timeline, styles_in

if TYPE_CHECKING:
    from vidstyle.cli.reporters import QuietReporter

_OWN_OPTIONS = (
    *("batch_size", "stabilize", "preserve_color", "mask", "report"),
    *("resume", "overwrite", "skip_existing", "allow_network"),
)
"""Options whose names are those of fields of `ConvertOptions`."""


@click.command(hidden=True)
@click.argument("inputs", nargs=-1, metavar="INPUT [INPUT ...]")
@click.option(
    "--style",
    "styles",
    multiple=True,
    help="A name, a model file or a blend (mosaic:0.6,scream:0.4); several for a painting in each. "
    f"[default: {StyleOptions.style}]",
)
@click.option("--timeline", default=None, metavar="TIME:STYLE,...", help="Change the style, as in 0:mosaic,10:scream.")
@click.option("--fade", type=SECONDS, default=StyleOptions.fade, show_default=True, help="So long a change of style takes.")
@click.option(
    "--strength", type=Finite(0, 1), default=StyleOptions.strength, show_default=True, help="0: the original, 1: the style."
)
@click.option(
    "--stroke-scale",
    type=Finite(*STROKE_SCALES),
    default=StyleOptions.stroke_scale,
    show_default=True,
    help="Size of the strokes; the output keeps its size.",
)
@click.option("--preserve-color", is_flag=True, help="Keep the original's colours.")
@click.option("--mask", default=None, metavar="FILE", help="An image, or a video as long: white is stylized, black left.")
@click.option(
    "-o",
    "--output",
    help="File, folder for several outputs, or template such as {folder}/{stem}.{style}{ext} or {name}.",
)
@click.option("-a", "--list", "lists", multiple=True, metavar="FILE", help="Inputs, one a line; - is stdin.")
@click.option("-r", "--recursive", is_flag=True, help="Take subfolders too.")
@click.option("--include", multiple=True, metavar="PATTERN", help="Of folders take only what fits, such as '*.mov' or 'day1/*'.")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="Of folders leave out what fits.")
@click.option("--watch", is_flag=True, help="Stay, and paint what arrives in the folders.")
@click.option("--workers", type=click.IntRange(1), default=None, help="Work with so many processes, dividing long videos.")
@click.option("--cluster", metavar="ADDRESS", default=None, help="Work on a Ray cluster: local, auto or ray://HOST:PORT.")
@click.option(
    "--chunk",
    "chunk_seconds",
    type=SECONDS,
    default=ClusterOptions.chunk_seconds,
    show_default=True,
    metavar="TIME",
    help="Length of the parts of a long video.",
)
@click.option("--start", type=SECONDS, default=None, help="Begin here (seconds or H:M:S).")
@click.option("--end", type=SECONDS, default=None, help="End here.")
@click.option("--duration", type=SECONDS, default=None, help="Take this much.")
@click.option("--sample", type=SECONDS, default=None, metavar="TIME", help="Only the first seconds, for trying out.")
@click.option("--height", type=int, default=StyleOptions.height, help="Height at which the net works; the output keeps its size.")
@encoding_options
@click.option("--resume", is_flag=True, help="Work so that an interrupted run can go on; go on from one.")
@click.option("--device", default=StyleOptions.device, show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option("--backend", type=click.Choice(["auto", "onnx", "torch"]), default=StyleOptions.backend, show_default=True)
@click.option(
    "--model-color",
    type=click.Choice(["rgb", "bgr"]),
    default=StyleOptions.model_color,
    show_default=True,
    help="Channel order of a foreign model.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1, 64),
    default=ConvertOptions.batch_size,
    show_default=True,
    help="Frames per run of the net.",
)
@click.option(
    "--stabilize",
    type=click.Choice(["off", "light", "strong"]),
    default=ConvertOptions.stabilize,
    show_default=True,
    help="Carry strokes along with the motion: steadier, slower.",
)
@click.option("--report", is_flag=True, help="Print the warping error: how much the output flickers.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that exist.")
@click.option("--skip-existing", is_flag=True, help="Leave inputs out whose output exists.")
@click.option("--allow-network", is_flag=True, help="Open URLs.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--progress", type=click.Choice(["auto", "json", "none"]), default="auto", show_default=True)
@click.option("-q", "--quiet", is_flag=True, help="Errors only.")
@click.option("-v", "--verbose", is_flag=True, help="More words.")
@click.pass_obj
def convert(
    signals: Signals,
    /,
    inputs: tuple[str, ...],
    styles: tuple[str, ...],
    output: str | None,
    timeline: str | None,
    dry_run: bool,
    progress: str,
    quiet: bool,
    verbose: bool,
    **given: Any,
) -> int:
    """Paint videos and images, or all of a folder.

    in.mp4 becomes in.STYLE.mp4 beside it: audio, timing and shape stay, nothing is overwritten.
    """
    level = logging.INFO if verbose else logging.ERROR if quiet else logging.WARNING
    return run_with_reporter(
        progress, quiet, level, lambda r: _convert(inputs, _styles(styles, timeline), output, dry_run, given, r, signals)
    )


def _styles(styles: tuple[str, ...], timeline: str | None) -> tuple[str, ...]:
    """What stylizes; raises `UsageError` where it cannot be understood."""
    if timeline is not None:
        if styles:
            raise UsageError("expected --style or --timeline, got both")
        parse_timeline(timeline)
        return (timeline,)
    for style in styles:
        parse_style(style)
    return styles or (StyleOptions.style,)


def _convert(
    inputs: tuple[str, ...],
    styles: tuple[str, ...],
    output: str | None,
    dry_run: bool,
    given: dict[str, Any],
    reporter: QuietReporter,
    signals: Signals,
) -> int:
    from vidstyle.batch.planner import Planner
    from vidstyle.sinks import check_encoding
    from vidstyle.sources import is_image

    options = _convert_options(styles[0], given)
    selection = Selection(given["recursive"], given["include"], given["exclude"])
    planner = Planner(_with_listed(inputs, given["lists"]), styles, output, selection)
    if given["watch"]:
        if dry_run:
            raise UsageError("expected --watch or --dry-run, got both")
        if not planner.folders:
            raise UsageError("expected a folder for --watch among the inputs, got none")
    jobs = planner.plan_for(planner.given) if given["watch"] else planner.plan()
    if dry_run:
        return _dry_run(jobs, options)
    # One of each kind: there may be thousands.
    for output_path in {job.output.suffix: job.output for job in jobs if not is_image(job.input)}.values():
        check_encoding(output_path, options.encode)
    cluster = ClusterOptions(given["workers"], given["cluster"], given["chunk_seconds"])
    shared = bool(planner.folders or given["lists"])
    with _painters(styles, options, cluster, shared, reporter, signals) as stylized:
        job_results = stylized(jobs) if jobs else []
        if given["watch"]:
            _watch(planner, stylized, selection, reporter, signals)
    for job_result in job_results:
        if job_result.result and job_result.result.report:
            click.echo(report_line(job_result.result))
    if len(job_results) > 1:
        reporter.summary(job_results)
    return _exit_code(job_results)


@contextmanager
def _painters(
    styles: Sequence[str],
    options: ConvertOptions,
    cluster: ClusterOptions,
    shared: bool,
    reporter: QuietReporter,
    signals: Signals,
) -> Iterator[Callable[[Sequence[Any]], list[Any]]]:
    """What works jobs off: this process, or the workers that were asked for. `shared`: other runs may be at the same jobs."""
    with ExitStack() as stack:
        if cluster.workers is None and cluster.address is None:
            with signals.held():  # an interrupted import would be reported as a broken installation
                from vidstyle.batch.runner import run_jobs
                from vidstyle.stylizers import load_stylizer

                stylizers = {style: load_stylizer(replace(options.style, style=style)) for style in dict.fromkeys(styles)}
            for style, stylizer in stylizers.items():
                reporter.note(f"style {style}: {stylizer.describe()}")

            def stylized(jobs: Sequence[Any]) -> list[Any]:
                with signals.held():
                    return run_jobs(jobs, stylizers, options, InterruptibleReporter(reporter, signals), shared)
        else:
            with signals.held():
                from vidstyle.batch.cluster import scheduler as crew

                engine = stack.enter_context(closing(crew.open_worker_pool(list(dict.fromkeys(styles)), options, cluster)))
            place = f"the Ray cluster {cluster.address}" if cluster.address else "this machine"
            reporter.note(f"{engine.workers} {'worker' if engine.workers == 1 else 'workers'} on {place}")

            def stylized(jobs: Sequence[Any]) -> list[Any]:
                with signals.held():
                    return crew.run_jobs(jobs, engine, options, reporter, cluster.chunk_seconds, signals.check)

        yield stylized


def _watch(
    planner: Any, stylized: Callable[[Sequence[Any]], list[Any]], selection: Selection, reporter: QuietReporter, signals: Signals
) -> None:
    """Paint what arrives in the folders, until somebody ends it."""
    from vidstyle.batch.watch import arriving

    with signals.held():
        reporter.note(f"watching {', '.join(map(str, planner.folders))}; Ctrl-C ends it")
        for arrived in arriving(planner.folders, planner.find, selection.recursive, check=signals.check):
            stylized(planner.plan_for(arrived))


def _with_listed(inputs: tuple[str, ...], lists: tuple[str, ...]) -> list[str]:
    """The inputs, and those in the lists."""
    from vidstyle.batch.planner import read_list

    together = [*inputs, *(line for name in lists for line in read_list(name))]
    if lists and not together:
        raise UsageError(f"expected inputs in {' and '.join(lists)}, one a line, found none")
    return together


def _convert_options(style: str, given: dict[str, Any]) -> ConvertOptions:
    def of(kind: type) -> dict[str, Any]:
        return {f.name: given[f.name] for f in fields(kind) if f.name in given}  # type: ignore[arg-type]

    return ConvertOptions(
        style=StyleOptions(style=style, **of(StyleOptions)),
        encode=EncodeOptions(**of(EncodeOptions)),
        trim=trim_from(given),
        audio=not given["no_audio"],
        subtitles=not given["no_subtitles"],
        **{k: given[k] for k in _OWN_OPTIONS},
    )


def _exit_code(job_results: Sequence[Any]) -> int:
    errors = [o.error for o in job_results if o.error]
    if not errors:
        return EXIT_DAMAGE if any(o.result and o.result.damage for o in job_results) else EXIT_DONE
    if len(job_results) == 1:
        return int(errors[0].exit_code)
    return EXIT_FAILED if len(errors) == len(job_results) else EXIT_DAMAGE


def _dry_run(jobs: Sequence[Any], options: ConvertOptions) -> int:
    from vidstyle.batch.claims import foregone
    from vidstyle.conversion.convert import with_mask
    from vidstyle.core.text import printable
    from vidstyle.sinks import check_free, stream_map
    from vidstyle.sources import is_image, open_source
    from vidstyle.styles.catalog import find_style

    for style in dict.fromkeys(name for job in jobs for name in styles_in(job.style)):
        find_style(style)
    errors = []
    for job in jobs:
        try:
            job_result = foregone(job, options)
            if job_result is not None and job_result.error is not None:
                raise job_result.error
            if job_result is not None:
                click.echo(printable(f"{job.output}: {job_result.skipped}, would be skipped"))
                continue
            if job.output.parent.exists():
                check_free(job.output, options.overwrite)
            with closing(with_mask(open_source(job.input, options.trim, options.allow_network), options)) as source:
                info = source.info
            frames = f"{info.frame_count_estimate or 'unknown'} frames"
            rate = f" at {float(info.frame_rate):.2f} fps" if info.frame_rate else ""
            lines = [] if is_image(job.input) else stream_map(job.input, job.output, info, options)
            click.echo(printable(f"{job.input} -> {job.output}: {info.width}x{info.height}, {frames}{rate}, style {job.style}"))
            for line in lines:
                click.echo(f"  {line}")
        except VidstyleError as error:
            errors.append(error)
            click.echo(printable(f"error: {error}"), err=True)
    if not errors:
        return EXIT_DONE
    return errors[0].exit_code if len(jobs) == 1 else EXIT_FAILED if len(errors) == len(jobs) else EXIT_DAMAGE
