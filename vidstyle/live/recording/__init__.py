"""Recording of the live view in a separate process."""
