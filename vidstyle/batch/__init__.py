"""Many inputs: discovery, output paths, planning, claims, running and watching."""
