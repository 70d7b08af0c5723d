"""Perceptual encoders, losses and style statistics."""
