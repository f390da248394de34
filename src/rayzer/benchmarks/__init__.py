"""Measuring speed: what `rayzer bench` runs."""
