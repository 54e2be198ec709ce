"""Resume a killed training as if nothing had happened.

A state holds ``made_with``, see :func:`made_with`, and, for a training in progress, all that the
next epoch depends on (:meth:`.loop.Learner.state`); for a finished one its ``weights`` and its
``history``.
"""

import json
import logging
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn

from vd_forecasting.artefacts import Experiment
from vd_forecasting.datasets import TrainingState
from vd_forecasting.pipelines.training.data_digest import data_digest
from vd_forecasting.provenance import code_digest, version_of
from vd_forecasting.running.staleness.plan import short_path

logger = logging.getLogger(__name__)

State = dict[str, Any]
Weights = dict[str, Tensor]

TRAINING = f"{__package__}.train"
"""The module in which, and in what it uses, a change may change what is trained."""
PACKAGES = ("vd_forecasting", "torch", "numpy", "numba", "xlstm")
RATES = "learning rates"
"""What only a refit is made with."""
UNNAMED = ("data", "code", RATES)
"""Digests and long lists, of which it is enough to say that they changed."""
NAMED_DIFFERENCES = 3


def find_state(
    states: TrainingState | None, name: str, made: dict[str, str], forecaster: nn.Module, label: str
) -> State | None:
    """The state of that name, if it was made with the same and fits the network; None without one.

    A log line says why a state is of no use. Without one of its own, a training takes over that of
    another experiment that has finished the same; on a GPU it might have been one of several at
    once, with other dropout.
    """
    if states is None:
        return None
    state = states.load(name)
    if state is not None:
        try:
            check_state(state, made, forecaster)
        except ValueError as error:
            is_killed = "history" not in state
            what = (
                "starts afresh, a killed training cannot be continued"
                if is_killed
                else "is trained anew"
            )
            logger.info("%s: %s: %s", label, what, error)
        else:
            return state
    for other in states.beside(name) if made["device"] == "cpu" else ():
        state = other.load(name) or {}
        with suppress(ValueError):
            check_state(state, made, forecaster)
            if "history" in state:
                states.save(name, state)
                logger.info("%s: takes over the same from %s", label, short_path(other.folder))
                return state
    return None


def made_with(experiment: Experiment, name: str, device: torch.device) -> dict[str, str]:
    """All that decides what becomes of a model but its seed, by name; data and code as digests.

    To be called with the number of threads of the training. Other seeds make other trainings, they
    do not change this one.
    """
    windows = experiment.windows
    blocks: dict[str, dict[str, Any]] = {
        "model": experiment.model_parameters.model_dump(mode="json"),
        "training": experiment.training.model_dump(mode="json", exclude={"seeds"}),
        "evaluation": {"mape_min_truth": experiment.mape_min_truth},
        "windows": {**windows.lengths, "target_features": windows.targets},
    }
    settings = [(block, *item) for block, values in blocks.items() for item in values.items()]
    on_cuda = device.type == "cuda"
    rates = {} if experiment.rates is None else {RATES: json.dumps(experiment.rates[name])}
    return {
        **{f"{block}.{key}": json.dumps(value) for block, key, value in settings},
        "compute.threads": str(torch.get_num_threads()),
        **{f"version of {package}": version_of(package) for package in PACKAGES},
        "device": torch.cuda.get_device_name(device) if on_cuda else device.type,
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        **rates,
        "data": data_digest(windows, windows.models[name]),
        "code": code_digest(TRAINING),
    }


def name_differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Name what differs: ``training.epochs was 50, is 100; the data are others``."""
    differing = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    named = [
        f"the {name} changed"
        if name in UNNAMED
        else f"{name} was {before.get(name, 'not set')}, is {now.get(name, 'not set')}"
        for name in differing[:NAMED_DIFFERENCES]
    ]
    if len(differing) > NAMED_DIFFERENCES:
        named.append(f"and {len(differing) - NAMED_DIFFERENCES} more")
    return "; ".join(named)


def check_state(state: State, made: dict[str, str], forecaster: nn.Module) -> None:
    """Check that resuming from a state changes no result and cannot fail half-way.

    If not, a ValueError names in one line what differs, or says that the network is another.
    """
    before = state.get("made_with")
    if not isinstance(before, dict) or not all(
        isinstance(text, str) for text in (*before, *before.values())
    ):
        raise ValueError("it is not a state of a training")
    if before != made:
        raise ValueError(name_differences(before, made))
    weights, of_step = _form(forecaster.state_dict()), _form(torch.zeros(()))
    is_validated = RATES not in made
    of_parameters = [_form(parameter) for parameter in forecaster.parameters()]
    try:
        fits = _form(state["weights"]) == weights
        if "history" in state:
            epochs = state["history"]["epochs"]
            if is_validated:
                fits &= state["history"]["best_epoch"] in range(1, len(epochs) + 1)
        else:
            epochs = state["epochs"]
            kept = ("average", "best") if is_validated else ("average",)
            fits &= all(_form(state[name]) == weights for name in kept)
            for index, moments in state["moments"].items():  # AdamW's; unused weights have none
                of_weight = dict.fromkeys(("exp_avg", "exp_avg_sq"), of_parameters[index])
                fits &= _form(moments) == {"step": of_step, **of_weight}
            for generator in ("cpu", "shuffling"):
                torch.Generator().set_state(state["random"][generator])
            fits &= next(forecaster.parameters()).device.type in state["random"]
            fits &= isinstance(state["steps"], int) and isinstance(state["seconds"], float)
        split = "val" if is_validated else "train"
        fits &= len(epochs) > 0 and all(isinstance(epoch[split]["loss"], float) for epoch in epochs)
    except (AttributeError, IndexError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError("its state is not whole") from error
    if not fits:
        raise ValueError("its state does not fit the network")


def _form(value: Any) -> Any:
    """Names, shapes and types of numbers."""
    if isinstance(value, Mapping):
        return {name: _form(inner) for name, inner in value.items()}
    return (value.shape, value.dtype) if isinstance(value, Tensor) else type(value)


def on_cpu(tensors: Mapping[str, Tensor]) -> Weights:
    """The same tensors on the CPU, not copied if they are there, in a plain dict.

    The names are interned: what is then saved does not depend on whether it was loaded before,
    since pickle notes strings that are one and the same object only once.
    """
    return {sys.intern(name): value.detach().cpu() for name, value in tensors.items()}
