"""Patterns that textures are cut from."""
