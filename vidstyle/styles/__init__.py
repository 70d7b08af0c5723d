"""Which styles there are, and what `--style` and `--timeline` mean."""
