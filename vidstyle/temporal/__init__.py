"""Optical flow, shots, temporal consistency, and the metric for it."""
