"""Write the generated tables and figures of README.md, docs/ and models/README.md from the committed results.

--check only reports whether they are up to date.

python -m tools.docs.tables [--check]
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

from tools.bench.fidelity import markdown
from tools.docs.controls_table import controls_table
from tools.docs.cpu_table import cpu_tables
from tools.docs.quality_figure import figure
from tools.docs.quality_tables import optimum_table, quality_table
from tools.docs.scale_tables import scale_tables, summary_table
from tools.docs.speed_table import limits, peers_table, speed_table

ROOT = Path(__file__).resolve().parents[2]


def live_table(live: dict[str, Any]) -> str:
    """The table of `tools/bench/live.py`'s results."""
    machine, heights, starts = live["machine"], live["inference_heights"], sorted(live["seconds_to_first_image"])
    sizes = " to ".join(str(h) for h in sorted({min(heights), max(heights)}))
    rows = (
        ("frames shown per second", f"{live['fps']:.1f} (worst second {live['fps_worst_second']:.1f})"),
        ("from capture to display, median and 99th percentile", f"{live['latency_median_ms']} ms, {live['latency_p99_ms']} ms"),
        ("inference height", sizes),
        ("start to first stylized frame, median of 5", f"{starts[len(starts) // 2]:.2f} s"),
        (
            "camera frames not shown",
            f"{live['frames_not_shown_with_a_switch'] + live['frames_not_shown_otherwise']} of {live['camera_frames']}, "
            f"{live['frames_not_shown_with_a_switch']} of them in the {live['style_switches']} seconds with a switch of style",
        ),
        ("memory, last third over first", f"{live['memory_last_third_over_first']:.2f} ({live['memory_mib'][-1]:.0f} MiB)"),
    )
    return "\n".join(
        [
            f"| {live['camera']['size']} camera at {live['camera']['fps']:g} fps, {live['seconds'] / 60:.0f} minutes | |",
            "| --- | --- |",
            *(f"| {what} | {value} |" for what, value in rows),
            "",
            f"Measured by `{live['command']}` on {machine['cores']} cores of {machine['cpu']}, which the camera's server and the "
            "virtual screen share; the style is switched every ten seconds.",
        ]
    )


def paint_table(paint: dict[str, Any]) -> str:
    """The table of `tools/bench/paint.py`'s results."""
    machine = paint["machine"]
    head = "loss, ours over the paper's | worst | time | seconds, ours at most"
    lines = [f"| encoder, long side | {head} |", "| --- |" + " ---: |" * 4]
    for name, label in (("compact", "compact"), ("vgg19", "the whole VGG-19")):
        found = paint[name]
        cells = [f"{found['best_over_gatys']:.2f}x", f"{found['worst_best_over_gatys']:.2f}x", f"{found['share_of_time']:.2f}x"]
        lines.append(f"| {label}, {found['long_side']} px | " + " | ".join(cells) + f" | {found['best_seconds']:.0f} |")
    counts = " and ".join(str(len(paint[name]["pairs"])) for name in ("compact", "vgg19"))
    return "\n".join(
        [
            *lines,
            "",
            f"Measured by `{paint['command']}` on {machine['cores']} cores of {machine['cpu']}: means over {counts} pairs of a "
            "photograph and a style image. The loss is Gatys' total loss with the same encoder, at the image as it is shown; the "
            "paper's recipe takes 3,000 steps of Adam.",
        ]
    )


def keyframes_table(keyframes: dict[str, Any]) -> str:
    """The table of `tools/bench/keyframes.py`'s results."""
    machine = keyframes["machine"]
    errors, styles = "excess warping error, each frame alone", "style distance, keyframes"
    head = f"frames | keyframes | minutes | {errors} | warped | network alone | {styles} | warped | network alone"
    lines = [f"| clip | {head} |", "| --- |" + " ---: |" * 9]
    for name, c in keyframes["clips"].items():
        error_values = [c["excess_warping_error_each_alone"], c["excess_warping_error_warp"], c["excess_warping_error_net"]]
        style_values = [c["style_distance_keyframes"], c["style_distance_warp"], c["style_distance_net"]]
        cells = [f"{c['frames']} of {c['size']}", str(c["keyframes"]), f"{c['minutes']:.1f}"]
        cells += [f"{1000 * e:.2f}e-3" for e in error_values] + [f"{s:.3f}" for s in style_values]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(
        [
            *lines,
            "",
            f"Measured by `{keyframes['command']}` on {machine['cores']} cores of {machine['cpu']}; 16 frames from the middle "
            "for the warping error (Lai et al. 2018), less the input's own. Minutes are those of the whole command.",
        ]
    )


def encoder_section(found: dict[str, Any]) -> list[str]:
    """How the perceptual encoder was made, and `tools/bench/encoder.py`'s results."""
    size = (ROOT / "models" / "encoder.safetensors").stat().st_size
    return [
        "",
        "## The perceptual encoder",
        "",
        f"`encoder.safetensors`, {size / 1e6:.2f} MB in half precision: VGG-19's topology with 16 to 128 channels, trained from",
        "random weights to see style as VGG-19 does. `vidstyle paint`, `keyframes` and `train` use its features",
        "for their losses.",
        "",
        "`python -m tools.assets.encoder --teacher vgg19_distilled_16x.pth --images core --images more --images large "
        "--images paintings --images paintings --style mosaic --style udnie --style great-wave --style scream --steps 16000 "
        "--batch 8 --distance-weight 0.05`: learnt from the distilled VGG-19 of Collaborative Distillation (CVPR 2020), 56 "
        "minutes on one core.",
        "",
        f"Rank correlation with VGG-19's style distances over {found['pairs']} pairs of an image and a style image: "
        f"{found['rank_correlation']:.3f} on the layers that training uses (relu1_1 to relu4_1), "
        f"{found['rank_correlation_with_relu5_1']:.3f} with relu5_1; layer by layer "
        f"{', '.join(f'{v:.3f}' for v in found['rank_correlation_by_layer'].values())}. Photographs are of those it was trained "
        "on, or stylized or blurred. Gatys images are made "
        f"{found['gatys_faster_by']:.0f} times as fast. Measured by `{found['command']}`.",
    ]


def fidelity_table(fidelity: dict[str, Any]) -> str:
    """The table of `tools/bench/fidelity.py`'s results."""
    return markdown(fidelity) + (
        f"\n\nMeasured by `{fidelity['command']}` with ffprobe {fidelity['machine']['ffprobe']}, another build than PyAV's. "
        "*same*: equal, times exactly in MP4 and MOV and to 1 ms in Matroska, copied packets by their hash; "
        "*named*: not the same, and the run reported it."
    )


def faults_table(faults: dict[str, Any]) -> str:
    """The table of `tools/bench/faults.py`'s results."""
    damaged, killed = faults["damaged"], faults["killed"]
    codes = ", ".join(f"{count} ended with {code}" for code, count in damaged["codes"].items())
    rows = (
        (f"{damaged['files']} damaged files", codes),
        ("tracebacks, crashes, hangs", f"{damaged['traceback']}, {damaged['crash']}, {damaged['hang']}"),
        ("false successes", str(damaged["false_success"])),
        ("peak memory", f"{damaged['peak_mib']} MiB"),
        (f"{killed['kills']} times kill -9 in {killed['videos']} conversions with `--resume`", ""),
        ("files lost or not whole", str(killed["no_output"] + killed["not_whole"])),
        ("resumed, and not equal to an uninterrupted run", str(killed["unequal"])),
    )
    lines = ["| | |", "| --- | --- |", *(f"| {what} | {figure} |" for what, figure in rows)]
    return "\n".join([*lines, "", _measured(faults)])


def attacks_table(attacks: dict[str, Any]) -> str:
    """The table of `tools/bench/attacks`' results."""
    lines = ["| attacked | attacks | faults | exit codes |", "| --- | --: | --: | --- |"]
    for group, facts in attacks["groups"].items():
        codes = ", ".join(f"{count} x {code}" for code, count in facts["codes"].items())
        lines.append(f"| {group} | {facts['attacks']} | {facts['faults']} | {codes} |")
    return "\n".join([*lines, "", _measured(attacks)])


def _measured(result: dict[str, Any]) -> str:
    where = f"{result['machine']['cores']} cores of {result['machine']['cpu']}"
    return f"Measured by `{result['command']}` on {where}; the judge of outputs is Debian's ffmpeg."


def care_table(care: dict[str, Any]) -> str:
    """The sentence of `tools/bench/care.py`'s results."""
    machine, percent = care["machine"], {key: f"{100 * care[key]:.1f} %" for key in ("care_costs", "resumable_costs")}
    return (
        f"Reading back, flushing, locking and checking cost {percent['care_costs']} of the time that {care['frames']} frames of "
        f"the sample take without all that; `--resume` costs {percent['resumable_costs']}. Measured by `{care['command']}` on "
        f"{machine['cores']} cores of {machine['cpu']}."
    )


def models_page(styles: dict[str, dict[str, Any]], encoder: dict[str, Any]) -> str:
    """models/README.md: everything that ships here, with where it comes from and how it was made."""
    lines = [
        "# Styles that ship",
        "",
        "Each is one ONNX file: uint8 RGB images of any size in and out. Its metadata holds these facts too. Commands are",
        "as given, but for the folders of the files they name; stages that were stopped early ran from a script with these",
        "settings. Losses are means over the last 50 steps, weights included; minutes of stopped stages are by the clock,",
        "with three trainings on two CPU cores. A file named as a start is the stage before.",
        "The image for `mosaic` is drawn by `python -m tools.assets.mosaic mosaic.png`; `--from mosaic` is the stage before.",
        "",
        "Beside each model lies its exemplar, from which `vidstyle paint` and `keyframes` know the style without style image: a",
        "texture with its statistics, made from noise by `python -m tools.assets.exemplars`; for `mosaic` the drawing.",
        "",
        *exemplar_grid(styles),
    ]
    for name, facts in sorted(styles.items()):
        size = (ROOT / "models" / facts["file"]).stat().st_size
        lines += ["", f"## {name}", ""]
        lines += [f"{facts['title']}; {facts['painter']}, {facts['year']}; licence {facts['licence']}.", ""]
        lines += [
            f"`{facts['file']}`, {size / 1000:.0f} kB, architecture {facts['architecture']}, sha256 `{facts['sha256']}`.",
            "",
        ]
        for number, run in enumerate(facts["training"], 1):
            losses = ", ".join(f"{k} {v:.4f}" for k, v in run["losses"].items())
            note = f"; {run['note']}" if "note" in run else ""
            losses = f" Losses: {losses}." if losses else ""
            lines += [f"{number}. `{run['command']}`", "", f"   {run['minutes']} minutes{note}.{losses}", ""]
    return "\n".join([*lines[:-1], *encoder_section(encoder)]) + "\n"


def exemplar_grid(styles: dict[str, dict[str, Any]], columns: int = 4) -> list[str]:
    """A table of exemplars, each below its style's name."""
    cells = [(name, f"![The exemplar of {name}]({facts['exemplar']['file']})") for name, facts in sorted(styles.items())]
    rows = [row for i in range(0, len(cells), columns) for row in zip(*cells[i : i + columns], strict=True)]
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|" + " --- |" * min(columns, len(cells)), *lines[1:]]


def pages() -> dict[Path, str]:
    """Path -> text of everything that is generated."""
    results = ROOT / "tools" / "bench" / "results"
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in results.glob("*.json")}
    quality = found["quality"]
    readme, benchmarks = ROOT / "README.md", ROOT / "docs" / "benchmarks.md"
    text = benchmarks.read_text("utf-8")
    for mark, table in (
        ("speed", speed_table(found["bench"])),
        ("controls", controls_table(found["controls"])),
        ("folder", summary_table(found["folder"], found["cluster"])),
        ("live", live_table(found["live"])),
        ("paint", paint_table(found["paint"])),
        ("keyframes", keyframes_table(found["keyframes"])),
        ("quality", quality_table(quality)),
        ("optimum", optimum_table(quality)),
    ):
        text = _filled(text, mark, table)
    catalog = json.loads((ROOT / "models" / "catalog.json").read_text("utf-8"))
    media = ROOT / "docs" / "media.md"
    page = _filled(media.read_text("utf-8"), "fidelity", fidelity_table(found["fidelity"]))
    page = _filled(page, "faults", faults_table(found["faults"]))
    page = _filled(page, "attacks", attacks_table(found["attacks"]))
    page = _filled(page, "care", care_table(found["care"]))
    scale = ROOT / "docs" / "scale.md"
    scaled = scale.read_text("utf-8")
    for mark, table in scale_tables(found["folder"], found["cluster"]).items():
        scaled = _filled(scaled, mark, table)
    speed = ROOT / "docs" / "speed.md"
    return {
        readme: _filled(readme.read_text("utf-8"), "speed", peers_table(found["bench"])),
        benchmarks: text,
        media: page,
        scale: scaled,
        speed: _filled(_filled(speed.read_text("utf-8"), "cpu", cpu_tables(found["cpu"])), "limits", limits(found["bench"])),
        ROOT / "models" / "README.md": models_page(catalog["styles"], found["encoder"]),
        results / "quality.svg": figure(quality["nets"]),
    }


def _filled(page: str, mark: str, table: str) -> str:
    pattern = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.DOTALL)
    return pattern.sub(lambda m: f"{m[1]}{table}\n{m[2]}", page)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    for path, text in pages().items():
        current = path.read_text("utf-8") if path.exists() else ""
        if args.check and current != text:
            raise SystemExit(f"{path.name} is not what the results say: run python -m tools.docs.tables")
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
