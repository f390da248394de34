"""Scores of pictures and cameras."""

from rayzer.evaluation import metrics

__all__ = ["metrics"]
