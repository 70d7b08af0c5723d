"""What everything is built of: frames, protocols, options, errors, files, text, hardware, compositing and concurrency."""
