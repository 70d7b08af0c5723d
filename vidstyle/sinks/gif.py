"""Frames with the palettes that GIF needs."""

from __future__ import annotations

from fractions import Fraction

from av.filter import Graph
from av.video.frame import VideoFrame

from vidstyle.sinks.encoders import has_alpha


class GifPalette:
    """Turns frames into those of a GIF, each with up to 256 colours of its own.

    GIF counts hundredths of a second, and the muxer rounds each timestamp to them: a frame of 24 a second is up to 5 ms off
    its time (the error does not add up), and frames that are less than 1/100 s apart fall on one tick, so all but one must be
    left out. Browsers show what lasts 1/100 s as if it lasted 10/100 s: 50 a second are the most that play as meant.
    """

    def convert(self, frame: VideoFrame) -> VideoFrame:
        """`frame` (rgb24 or rgba) as pal8, its time kept; what is less than half opaque becomes transparent."""
        graph = Graph()  # a new one each time: a filter with two inputs holds its last frame back until its inputs end
        graph.threads = 1
        source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 100))
        split, sink = graph.add("split"), graph.add("buffersink")
        transparent = int(has_alpha(frame.format.name))
        generate = graph.add("palettegen", f"stats_mode=single:reserve_transparent={transparent}")
        # Bayer's pattern stays where it is; diffused errors would flicker all over the image with every change.
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
