"""The names of modes, models, features and splits, and how pages and plots call the models."""

from typing import Final

MODES: Final = ("single_vd", "multi_vd", "independent_multi_vd")
MODELS: Final = ("lstm", "xlstm")
EXPERIMENTS: Final = tuple(f"{mode}_{model}" for mode in MODES for model in MODELS)
GLOBAL_MODE: Final = "global_vd"  # compare_all leaves it out
EVERY_MODE: Final = (*MODES, GLOBAL_MODE)
EVERY_EXPERIMENT: Final = tuple(f"{mode}_{model}" for mode in EVERY_MODE for model in MODELS)
FORECASTS: Final = tuple(f"forecast_{name}" for name in EVERY_EXPERIMENT)
"""Namespaces of forecasts of a recent file."""
EXPORTS: Final = tuple(f"export_{name}" for name in EXPERIMENTS)
"""Namespaces of models for other programs."""
STUDIES: Final = tuple(f"tune_{name}" for name in EVERY_EXPERIMENT)
"""Namespaces of searches for settings."""
OF_ONE_EXPERIMENT: Final = (*EVERY_EXPERIMENT, *FORECASTS, *EXPORTS, *STUDIES)
"""Namespaces that end with the name of the experiment that they make or use."""
SPLITS: Final = ("train", "val", "test")

SPEED: Final = "avg_speed"
VOLUME: Final = "total_volume"
OCCUPANCY: Final = "avg_occupancy"
TARGET_FEATURES: Final = (SPEED, VOLUME, OCCUPANCY)  # by default, where the file has them

REFITTED: Final = {model: f"{model}_refitted" for model in MODELS}
"""Name, among models, of a network of this kind that was trained on everything."""

_NETWORKS: Final = {"lstm": "LSTM", "xlstm": "xLSTM"}
NAMES: Final = {  # in print
    **_NETWORKS,
    **{REFITTED[model]: f"{name} trained on everything" for model, name in _NETWORKS.items()},
    "gradient_boosting": "gradient boosting",
    "ridge": "ridge",
    "historical_average": "historical average",
    "seasonal_naive": "seasonal naive",
    "persistence": "persistence",
    "truth": "measured",
}


def joined_name(network: str) -> str:
    """Name, among models, of the mean of the forecasts that a network's seeds make."""
    return f"{network}_joined"


def joined_label(label: str, seeds: int) -> str:
    """How it is called in print: ``LSTM, 5 seeds joined``."""
    return f"{label}, {seeds} seeds joined"


MODES_IN_WORDS: Final = {
    "single_vd": "one detector in, the same detector out",
    "multi_vd": "all detectors jointly in and out of one model",
    "independent_multi_vd": (
        "a model of its own for each detector, which sees only that detector's past"
    ),
    "global_vd": (
        "one model for all detectors, which sees only the past of the one it forecasts, and which "
        "one that is"
    ),
}
