"""Gatys: the pixels of one image, optimized."""
