"""Configurations: presets as typed Python, YAML files (ours and the reference's), and overrides."""

from rayzer.configs.config import Config, load_config, parse_overrides
from rayzer.configs.presets import PRESETS

__all__ = ["PRESETS", "Config", "load_config", "parse_overrides"]
