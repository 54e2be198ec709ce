"""What a killed training needs to go on as if nothing had happened.

A state holds ``made_with``, see :func:`made_with`, and, of a training in progress, all that the
next epoch depends on (:func:`capture`); of a finished one its ``weights`` and its ``history``.
Learning rate, early stopping and the best epoch follow from the errors of the epochs so far.
"""

import importlib.metadata
import json
import logging
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

import vd_forecasting
from vd_forecasting.artefacts import WindowSet
from vd_forecasting.datasets import TrainingState
from vd_forecasting.parameters import Compute, LSTMModel, Training, XLSTMModel

logger = logging.getLogger(__name__)

State = dict[str, Any]
Weights = dict[str, Tensor]

CODE = ("evaluation/metrics.py", "models", "pipelines/training")
"""Sources in which a change may change what is trained."""
PACKAGES = ("vd_forecasting", "torch", "pytorch_lightning", "numpy", "numba", "xlstm")
DIGESTS = ("data", "code")
NAMED_DIFFERENCES = 3


@dataclass(frozen=True)
class Keeper:
    """Keeps and finds the state of one training.

    Args:
        states: where; None keeps nothing.
        name: of this training among those of its experiment.
        made_with: what must be the same for a state to be of use.
        label: begins every log line.
    """

    states: TrainingState | None
    name: str
    made_with: dict[str, str]
    label: str

    def find(self) -> State | None:
        """The state that this very training kept; tells why if there is one that is of no use."""
        state = None if self.states is None else self.states.load(self.name)
        if state is None:
            return None
        before = state.get("made_with")
        if not _is_text_by_text(before):
            self.refuse("it is not a state of a training")
            return None
        if before != self.made_with:
            self.refuse(tell_differences(before, self.made_with))
            return None
        return state

    def refuse(self, reason: str) -> None:
        """Tell that the training starts afresh although a state was kept."""
        logger.info(
            "%s: starts afresh, a killed training cannot be continued: %s", self.label, reason
        )

    def keep(self, state: State) -> None:
        """Keep a state until the next."""
        if self.states is not None:
            self.states.save(self.name, {"made_with": self.made_with, **state})


def made_with(
    windows: WindowSet,
    vds: slice,
    model: str,
    model_parameters: LSTMModel | XLSTMModel,
    training: Training,
    mape_min_truth: float,
    compute: Compute,
) -> dict[str, str]:
    """All that decides the result of a training but its seed, by name; data and code as digests.

    To be called with the number of threads of the training. Other seeds make other trainings, they
    do not change this one.
    """
    blocks = {
        "model": model_parameters.model_dump(mode="json"),
        "training": training.model_dump(mode="json", exclude={"seeds"}),
        "windows": {
            "sequence_length": windows.sequence_length,
            "prediction_length": windows.prediction_length,
            "target_features": windows.targets,
        },
        "evaluation": {"mape_min_truth": mape_min_truth},
        "compute": {"accelerator": compute.accelerator, "threads": torch.get_num_threads()},
    }
    parameters = {
        f"{block}.{key}": json.dumps(value)
        for block, values in blocks.items()
        for key, value in values.items()
    }
    return {
        "model": model,
        **parameters,
        **{f"version of {package}": _version(package) for package in PACKAGES},
        "processor": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "data": data_digest(windows, vds),
        "code": code_digest(),
    }


def tell_differences(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Name what differs: ``training.epochs was 50, is 100; the data are others``."""
    differing = [name for name in {**now, **before} if before.get(name) != now.get(name)]
    told = [
        f"the {name} changed"
        if name in DIGESTS
        else f"{name} was {before.get(name, 'not set')}, is {now.get(name, 'not set')}"
        for name in differing[:NAMED_DIFFERENCES]
    ]
    if len(differing) > NAMED_DIFFERENCES:
        told.append(f"and {len(differing) - NAMED_DIFFERENCES} more")
    return "; ".join(told)


def data_digest(windows: WindowSet, vds: slice) -> str:
    """Of all values that the model of these VDs sees."""
    digest = blake2b(digest_size=16)
    arrays = {
        "values": windows.values[:, vds],
        "observed": windows.observed[:, vds],
        "mean": windows.mean[vds],
        "std": windows.std[vds],
    }
    for name, array in arrays.items():
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B"))
    digest.update(np.ascontiguousarray(windows.calendar).data.cast("B"))
    labels = (windows.features, windows.targets)
    bounds = [windows.ends[split] for split in ("train", "val")]
    digest.update(json.dumps([labels, bounds, windows.mode]).encode())
    return digest.hexdigest()


@cache
def code_digest() -> str:
    """Of the sources named by :data:`CODE`."""
    package = Path(vd_forecasting.__file__).parent
    digest = blake2b(digest_size=16)
    for part in CODE:
        path = package / part
        for source in [path] if path.is_file() else sorted(path.rglob("*.py")):
            digest.update(f"{source.relative_to(package).as_posix()}\n".encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()


def capture(
    weights: Mapping[str, Tensor],
    average: Mapping[str, Tensor],
    best: Mapping[str, Tensor],
    optimizer: torch.optim.Optimizer,
    shuffling: torch.Generator,
    device: torch.device,
) -> State:
    """The tensors of a training in progress, as they are; to be saved before it goes on."""
    moments = optimizer.state_dict()["state"]
    random = {"cpu": torch.get_rng_state(), "shuffling": shuffling.get_state()}
    if device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(device)
    return {
        "weights": on_cpu(weights),
        "average": on_cpu(average),
        "best": on_cpu(best),
        "moments": {index: on_cpu(of_weight) for index, of_weight in moments.items()},
        "random": random,
    }


def check_state(state: State, forecaster: nn.Module) -> None:
    """Check that a state fits the network, so that going on from it cannot fail half-way.

    Raises:
        ValueError: one line; it does not fit.
    """
    try:
        fits = have_same_form(state["weights"], forecaster.state_dict()) and (
            _is_history(state["history"]) if "history" in state else _can_go_on(state, forecaster)
        )
    except (KeyError, TypeError, RuntimeError) as error:
        raise ValueError("its state is not whole") from error
    if not fits:
        raise ValueError("its state does not fit the network")


def _can_go_on(state: State, forecaster: nn.Module) -> bool:
    weights = forecaster.state_dict()
    averaged = {f"module.{name}": value for name, value in weights.items()}
    for of_generator in ("cpu", "shuffling"):
        torch.Generator().set_state(state["random"][of_generator])
    return (
        have_same_form(state["average"], {"n_averaged": torch.tensor(0), **averaged})
        and have_same_form(state["best"], weights)
        and _are_moments(state["moments"], list(forecaster.parameters()))
        and _are_epochs(state["epochs"])
        and isinstance(state["seconds"], float)
    )


def _is_history(history: Any) -> bool:
    return _are_epochs(history["epochs"]) and (
        history["best_epoch"] in range(1, len(history["epochs"]) + 1)
    )


def have_same_form(tensors: Any, like: Mapping[str, Tensor]) -> bool:
    """Whether both have the same names, shapes and types of numbers."""
    return (
        isinstance(tensors, dict)
        and tensors.keys() == like.keys()
        and all(
            isinstance(tensors[name], Tensor)
            and tensors[name].shape == value.shape
            and tensors[name].dtype == value.dtype
            for name, value in like.items()
        )
    )


def on_cpu(tensors: Mapping[str, Tensor]) -> Weights:
    """The same tensors on the CPU, not copied if they are there, in a plain dict.

    The names are interned: what is then saved does not depend on whether it was loaded before,
    since pickle notes strings that are one and the same object only once.
    """
    return {sys.intern(name): value.detach().cpu() for name, value in tensors.items()}


def _are_moments(moments: Any, parameters: list[nn.Parameter]) -> bool:
    """Whether this is what AdamW keeps of the weights; of unused ones it keeps nothing."""
    return isinstance(moments, dict) and all(
        index in range(len(parameters))
        and have_same_form(
            of_weight,
            {
                "step": torch.zeros(()),
                "exp_avg": parameters[index],
                "exp_avg_sq": parameters[index],
            },
        )
        for index, of_weight in moments.items()
    )


def _are_epochs(epochs: Any) -> bool:
    return (
        isinstance(epochs, list)
        and len(epochs) > 0
        and all(isinstance(epoch["val"]["loss"], float) for epoch in epochs)
    )


def _is_text_by_text(value: Any) -> TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and all(
        isinstance(text, str) for pair in value.items() for text in pair
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
