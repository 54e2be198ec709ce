"""The names of modes, models, features and splits, and how pages and plots call the models."""

from typing import Final

from vd_forecasting.language import marked, say

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

SPEED: Final = marked("avg_speed")
VOLUME: Final = marked("total_volume")
OCCUPANCY: Final = marked("avg_occupancy")
TARGET_FEATURES: Final = (SPEED, VOLUME, OCCUPANCY)  # by default, where the file has them
KNOWN_FEATURES: Final = (*TARGET_FEATURES, marked("speed_std"), marked("lane_count"))
"""Those that have a name in every language."""

REFITTED: Final = {model: f"{model}_refitted" for model in MODELS}
"""Name, among models, of a network of this kind that was trained on everything."""

NAMES: Final = {  # in print, in English
    "lstm": "LSTM",
    "xlstm": "xLSTM",
    REFITTED["lstm"]: marked("LSTM trained on everything"),
    REFITTED["xlstm"]: marked("xLSTM trained on everything"),
    "gradient_boosting": marked("gradient boosting"),
    "ridge": marked("ridge"),
    "historical_average": marked("historical average"),
    "seasonal_naive": marked("seasonal naive"),
    "persistence": marked("persistence"),
    "truth": marked("measured"),
}


def name_of(model: str) -> str:
    """What a model is called in print, in the language spoken."""
    return say(NAMES[model])


def joined_name(network: str) -> str:
    """Name, among models, of the mean of the forecasts that a network's seeds make."""
    return f"{network}_joined"


def joined_label(label: str, seeds: int) -> str:
    """How it is called in print: ``LSTM, 5 seeds joined``."""
    return say("{model}, {number} seeds joined", model=label, number=seeds)


_MODES_IN_WORDS: Final = {
    "single_vd": marked("one detector in, the same detector out"),
    "multi_vd": marked("all detectors jointly in and out of one model"),
    "independent_multi_vd": marked(
        "a model of its own for each detector, which sees only that detector's past"
    ),
    "global_vd": marked(
        "one model for all detectors, which sees only the past of the one it forecasts, and which "
        "one that is"
    ),
}


def mode_in_words(mode: str) -> str:
    """What goes into a network of a mode and what comes out; an unknown mode as it is called."""
    return say(_MODES_IN_WORDS.get(mode, mode))
