"""The layout of the package again."""

from pathlib import Path

PROJECT = Path(__file__).parents[1]
