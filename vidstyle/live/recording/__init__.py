"""Recording of the live view, in a process of its own."""
