"""The tables of README.md on looks, from tools/bench/results/quality.json. Used by tools/docs/tables.py."""

from __future__ import annotations

from typing import Any


def quality_table(quality: dict[str, Any]) -> str:
    """The table of `tools/bench/quality.py`'s results: ratios to the full network of the same style image, then plain figures."""
    keys = ("style", "broad_style", "content", "excess_warping_error")
    head = "style distance | broad style distance | content distance | excess warping error"
    lines = [f"| against the full TransformerNet | {head} | end to end |", "| --- |" + " ---: |" * (len(keys) + 1)]
    for label, ratios in quality["ratios_to_full_net"].items():
        cells = [f"{ratios[key]:.2f}x" for key in keys] + [f"{quality['end_to_end'][label]['faster_by']:.1f}x as fast"]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    lines += ["", f"| all networks | {head} |", "| --- |" + " ---: |" * len(keys)]
    for label, net in quality["nets"].items():
        mean = net["mean"]
        lines.append(
            f"| {label} | {mean['style']:.3f} | {mean['broad_style']:.3f} | {mean['content']:.2f} | {mean[keys[-1]]:.2e} |"
        )
    machine = quality["machine"]
    lines += [
        "",
        f"Measured by `{quality['command']}` on {machine['cores']} cores of {machine['cpu']}: means over five DAVIS clips at "
        "640x360, 17 frames each. Smaller is better, but for the speed. Distances are relative squared errors of VGG-19 "
        "features (content, relu3_1) and Gram matrices (style, relu1_1 to relu3_1; broad, relu3_1) over three sizes; the "
        "warping error is that of Lai et al. 2018 above the input's own. Mosaics are judged by the image that each network "
        "was trained on.",
    ]
    return "\n".join(lines)


def optimum_table(quality: dict[str, Any]) -> str:
    """The table of the part `gatys` of `tools/bench/quality.py`'s results."""
    head = "style distance, network | optimum | content distance, network | optimum | loss, network over optimum"
    lines = [f"| style | {head} |", "| --- |" + " ---: |" * 5]
    for style, found in quality["gatys"].items():
        net, best, ratio = (found["mean"][who] for who in ("net", "optimum", "net_over_optimum"))
        cells = [f"{net['style']:.3f}", f"{best['style']:.3f}", f"{net['content']:.2f}", f"{best['content']:.2f}"]
        lines.append(f"| {style} | " + " | ".join([*cells, f"{ratio['total']:.2f}x"]) + " |")
    lines += [
        "",
        "The optimum is an image whose pixels were optimized for these very distances (Gatys et al. 2015; loss: style + 0.1 "
        "content), starting from the network's result: the most that a network of any size could gain, as far as the "
        "optimizer finds it. "
        f"Means over the middle frames of the five clips. Measured by `{quality['command']}`.",
    ]
    return "\n".join(lines)
