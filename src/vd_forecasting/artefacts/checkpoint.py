"""The type of a trained model as it is kept; :mod:`vd_forecasting.models.checkpoint` lists its
keys."""

from typing import Any

Checkpoint = dict[str, Any]
