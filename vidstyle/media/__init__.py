"""What sources and sinks both need to know about media files: containers, colour, HDR, orientation and stream clocks."""
