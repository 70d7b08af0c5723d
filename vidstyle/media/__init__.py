"""Facts about media files that both ends need: containers, colour, HDR, orientation and the clock of streams."""
