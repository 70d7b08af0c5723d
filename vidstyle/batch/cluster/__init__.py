"""Several workers for the jobs of one run: processes on this machine, or a Ray cluster (extra `ray`)."""
