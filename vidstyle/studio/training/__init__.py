"""Training of new styles."""
