"""Offline work on styles: networks, losses, training, export. Everything here needs the extra `torch`."""
