"""Offline work: images stylized by optimization, keyframes of videos, and training of styles. It needs the extra `torch`."""
