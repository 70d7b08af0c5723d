"""The style networks in torch, their export and the torch device. Requires the extra `torch`."""
