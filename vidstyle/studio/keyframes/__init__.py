"""Keyframes of a video, optimized and propagated."""
