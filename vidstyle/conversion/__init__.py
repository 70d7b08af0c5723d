"""One input to one output: the pipeline, the conversion, its provenance, and contact sheets."""
