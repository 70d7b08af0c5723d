"""Converts frames for GIF, each with its own palette."""

from __future__ import annotations

from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

from vidstyle.sinks.encoders import has_alpha


class GifPalette:
    """Converts frames for GIF, each with its own palette of up to 256 colours.

    GIF counts hundredths of a second, and the muxer rounds each timestamp to them: at 24 frames per second a frame is up to 5 ms
    early or late (errors do not add up), and of frames less than 1/100 s apart all but one must be left out. Browsers show a
    frame of 1/100 s for 10/100 s: more than 50 frames per second do not play at their speed.
    """

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """`frame` (rgb24 or rgba) as pal8 with its timestamp; pixels less than half opaque become transparent."""
        graph = Graph()  # a new one for each frame: a filter with two inputs delays its last frame until its inputs end
        graph.threads = 1
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 100))
        split, sink = graph.add("split"), graph.add("buffersink")
        transparent = int(has_alpha(frame.format.name))
        generate = graph.add("palettegen", f"stats_mode=single:reserve_transparent={transparent}")
        # Ordered dithering is stable over time; error diffusion would flicker all over the image with every change.
        use = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=3:alpha_threshold=128")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(generate, 1, 0)
        generate.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        pts, time_base, duration = frame.pts, frame.time_base, frame.duration
        frame.pts, frame.time_base = 0, Fraction(1, 100)
        graph.vpush(frame)
        graph.vpush(None)
        converted = graph.vpull()
        for each in (frame, converted):
            each.pts, each.duration = pts, duration
            if time_base is not None:
                each.time_base = time_base
        return converted
