"""Settings that a search found, in the place of those in the block of an experiment.

``tuned: true`` asks for them. It is replaced by the record of the search, which pages speak of;
where there is none yet it stays, and only a training minds (:func:`check_searched`).
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, Final

from omegaconf import OmegaConf

from vd_forecasting.vocabulary import EVERY_EXPERIMENT

Blocks = dict[str, Any]
UNTUNED: Final = "untuned"


def with_tuned(
    parameters: Blocks, given: Mapping[str, Any], find: Callable[[str], Blocks | None]
) -> Blocks:
    """The parameters with the best settings of those experiments whose block asks for them.

    What is in the blocks themselves is then in their ``untuned``, for a search to begin with.

    Args:
        parameters: by block.
        given: those of the command line among them, which hold nevertheless.
        find: the record of the search of an experiment, a :class:`~.records.Tuned` as JSON has it;
            None if there is none.

    Raises:
        ValueError: one line; ``tuned`` is neither true nor false.
    """
    for name in EVERY_EXPERIMENT:
        block = parameters.get(name)
        if not isinstance(block, dict) or "tuned" not in block:
            continue
        if UNTUNED in block:
            raise ValueError(f"parameter {name}.{UNTUNED} is not known; delete it")
        block[UNTUNED] = {key: deepcopy(block.get(key)) for key in ("model", "training")}
        if not block["tuned"]:
            continue
        if block["tuned"] is not True:
            raise ValueError(f"parameter {name}.tuned is {block['tuned']!r}; write true or false")
        if record := find(name):
            merged = OmegaConf.unsafe_merge(block, record["best"], given.get(name) or {})
            parameters[name] = {**dict(OmegaConf.to_container(merged)), "tuned": record}  # type: ignore[arg-type]
    return parameters


def check_searched(experiment: str, tuned: object) -> None:
    """Raise a ValueError, in one line, if an experiment is to use settings that nobody searched."""
    if tuned is True:
        raise ValueError(
            f"{experiment}: tuned is true, but its settings were not searched yet; kedro run "
            f"--namespace tune_{experiment}"
        )
