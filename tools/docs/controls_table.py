"""The tables of README.md on the controls, from tools/bench/results/controls.json. Used by tools/docs/tables.py."""

from __future__ import annotations

from typing import Any


def controls_table(controls: dict[str, Any]) -> str:
    """The tables of `tools/bench/controls.py`'s results: what the controls do, and what they cost."""
    speed = controls["speed"]
    machine = speed["machine"]
    return "\n".join(
        [
            *_effects(controls["strength"], controls["blends"], controls["stroke_scale"]),
            "",
            *_speeds(speed),
            "",
            f"Measured by `python -m tools.bench.controls` on {machine['cores']} cores of {machine['cpu']}, with the sample and "
            f"the exemplars that ship: {speed['frames']} frames of 640x360, {speed['fps_without']:.0f} a second from file to "
            "file without controls. Strokes are measured on stylized pink noise, which looks alike at any size.",
        ]
    )


def _effects(strength: dict[str, Any], blends: dict[str, Any], stroke_scale: dict[str, Any]) -> list[str]:
    styles, pairs = strength["styles"], blends["pairs"]
    growth = stroke_scale["wavelengths_over_those_at_1"].values()
    steps = ", ".join(f"{s:g}" for s in strength["strengths"])
    rows = (
        ("strength 0 against the original", _psnr([s["psnr_of_0_to_input"] for s in styles.values()])),
        ("strength 1 against the style alone", _psnr([s["psnr_of_1_to_style"] for s in styles.values()])),
        (f"style distance falls from step to step ({steps})", f"{strength['styles_that_fall']} of {len(styles)} styles"),
        ("blends lie between their styles, in style distance from both", f"{blends['pairs_between']} of {len(pairs)} pairs"),
        *((f"strokes at stroke scale {s}, over those at 1", _range([g[s] for g in growth])) for s in ("0.5", "2")),
    )
    return ["| what the controls do | |", "| --- | --- |", *(f"| {what} | {figure} |" for what, figure in rows)]


def _speeds(speed: dict[str, Any]) -> list[str]:
    rows = (f"| {name} | {ratio:.2f}x |" for name, ratio in speed["fps_over_without"].items())
    return ["| what they cost | frames per second, over those without |", "| --- | ---: |", *rows]


def _psnr(decibels: list[float | None]) -> str:
    """None for equal images."""
    found = [d for d in decibels if d is not None]
    return f"PSNR {min(found):.1f} dB at least" if found else "equal, pixel by pixel"


def _range(values: list[float]) -> str:
    return f"{min(values):.2f}x to {max(values):.2f}x"
