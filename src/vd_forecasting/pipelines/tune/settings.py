"""Settings of a trial, by dotted name such as ``model.dropout``, as JSON has them."""

from typing import Any

from pydantic import ValidationError

from vd_forecasting.parameters import LSTMModel, Range, Searched, Space, Training, XLSTMModel

Settings = dict[str, Any]


def settings_of(space: Space, model: LSTMModel | XLSTMModel, training: Training) -> Settings:
    """What an experiment has for the parameters that are searched."""
    found = {
        f"{block}.{key}": value
        for block, values in (("model", model), ("training", training))
        for key, value in values.model_dump(mode="json").items()
    }
    return without_absent_blocks({name: found[name] for name in space.searched}, model)


def without_absent_blocks(settings: Settings, model: LSTMModel | XLSTMModel) -> Settings:
    """The same; where the number of blocks is searched, ``slstm_at`` names those that exist."""
    if not isinstance(model, XLSTMModel) or "model.num_blocks" not in settings:
        return settings
    at = settings.get("model.slstm_at", [*model.slstm_at])
    at = [block for block in at if block < settings["model.num_blocks"]]
    return {**settings, "model.slstm_at": at}


def is_offered(searched: Searched, value: Any) -> bool:
    """Whether a value is one of the choices, or within the range."""
    if isinstance(searched, Range):
        return bool(searched.low <= value <= searched.high)
    return value in searched


def in_blocks(settings: Settings) -> dict[str, dict[str, Any]]:
    """The same as the blocks of an experiment have it: ``model`` and ``training``."""
    blocks: dict[str, dict[str, Any]] = {"model": {}, "training": {}}
    for name, value in settings.items():
        block, _, key = name.partition(".")
        blocks[block][key] = value
    return blocks


def with_settings(
    model: LSTMModel | XLSTMModel, training: Training, settings: Settings
) -> tuple[LSTMModel | XLSTMModel, Training]:
    """A network and its training with these settings; a ValueError, in one line, if there is no
    such network."""
    changed = in_blocks(settings)
    try:
        return (
            type(model).model_validate(model.model_dump() | changed["model"]),
            Training.model_validate(training.model_dump() | changed["training"]),
        )
    except ValidationError as error:
        raise ValueError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from error
