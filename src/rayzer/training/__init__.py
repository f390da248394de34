"""Training recipes and, step by step, what carries them out."""
