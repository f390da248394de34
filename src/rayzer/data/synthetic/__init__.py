"""Procedural rooms with exact cameras: data until real data arrives, and a benchmark that needs none."""
