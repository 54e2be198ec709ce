"""A checkpoint: plain tensors, numbers and strings, enough to forecast with.

Keys: ``model`` and ``model_parameters`` name the core; ``network`` the fields of
:class:`~vd_forecasting.models.forecaster.Network`; ``weights`` a state dict per trained model
and ``seed`` what they were trained from; ``scaler`` the ``mean`` and ``std`` per VD and feature, in
physical units; ``vdids``, ``input_features``, ``target_features`` and the window lengths say what
goes in and comes out; ``format`` is :data:`FORMAT`.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vd_forecasting.models import CORES, Forecaster, Network
from vd_forecasting.wording import first_line

Checkpoint = dict[str, Any]

FORMAT = 1
"""Increased when the keys of a checkpoint change; one without the key ``format`` has 1."""

KEYS = {
    str: ("model",),
    dict: ("model_parameters", "network", "weights", "scaler"),
    list: ("vdids", "input_features", "target_features"),
    int: ("seed", "sequence_length", "prediction_length"),
    float: ("interval_minutes",),
}
MOST_BUFFER_BYTES = 2**30
"""Upper limit for buffers, such as the masks of the xLSTM, which need far less."""


def build_forecaster(described: Mapping[str, Any]) -> Forecaster:
    """An untrained forecaster of the ``model``, ``model_parameters`` and ``network`` described."""
    core, config = CORES[described["model"]]
    settings = config(**described["model_parameters"])
    return Forecaster(core(settings), Network(**described["network"]))


def load_forecasters(checkpoint: Checkpoint) -> dict[str, Forecaster]:
    """The trained forecasters of a checkpoint, by name, ready to forecast (dropout off).

    It is checked before, see :func:`check_checkpoint`.
    """
    check_checkpoint(checkpoint)
    forecasters = {}
    for name, weights in checkpoint["weights"].items():
        forecasters[name] = build_forecaster(checkpoint).eval()
        forecasters[name].load_state_dict(weights)
    return forecasters


def check_checkpoints(checkpoints: dict[str, Checkpoint]) -> dict[str, Checkpoint]:
    """:func:`check_checkpoint` for checkpoints by seed; the error names the seed."""
    for seed, checkpoint in checkpoints.items():
        try:
            check_checkpoint(checkpoint)
        except ValueError as error:
            raise ValueError(f"seed {seed}: {error}") from error
    return checkpoints


def check_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """Return a checkpoint if it is whole: its weights are those of the network it describes.

    The network is only sketched, without memory for its weights, so one of any size can be refused.
    A ValueError names in one line what is missing, too large or of another shape or type.
    """
    if not isinstance(checkpoint, dict):
        raise ValueError(f"a {type(checkpoint).__name__} is not a checkpoint")
    found = checkpoint.get("format", 1)
    if found not in range(1, FORMAT + 1):
        raise ValueError(
            f"the checkpoint has format {found!r}, this version reads up to {FORMAT}; update "
            "vd_forecasting, or delete it and train again"
        )
    for kind, keys in KEYS.items():
        for key in keys:
            if not isinstance(checkpoint.get(key), kind):
                raise ValueError(
                    f"{key!r} of the checkpoint is missing or not of type {kind.__name__}"
                )
    if not checkpoint["weights"]:
        raise ValueError("the checkpoint holds no weights")
    sketch = _sketch(checkpoint)
    for name, weights in checkpoint["weights"].items():
        _check_tensors(f"weights of {name!r}", weights, sketch.state_dict())
    shape = (len(checkpoint["vdids"]), len(checkpoint["input_features"]))
    like = torch.empty(shape, device="meta")
    _check_tensors("scaler", checkpoint["scaler"], {"mean": like, "std": like})
    return checkpoint


def _sketch(checkpoint: Checkpoint) -> Forecaster:
    """The network with shapes but without values."""
    model, parameters = checkpoint["model"], checkpoint["model_parameters"]
    if model not in CORES:
        raise ValueError(f"model {model!r} is not known; there are {', '.join(CORES)}")
    tensors = sum(len(weights) for weights in checkpoint["weights"].values() if weights)
    if any(parameters.get(name, 0) > tensors for name in ("num_layers", "num_blocks")):
        raise ValueError("the checkpoint has fewer weights than layers")
    try:
        with torch.random.fork_rng(), torch.device("meta"):
            sketch = build_forecaster(checkpoint)
    except (KeyError, TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ValueError(f"the checkpoint describes no network ({first_line(error)})") from error
    if sum(buffer.nbytes for buffer in sketch.buffers()) > MOST_BUFFER_BYTES:
        raise ValueError("the checkpoint describes a network of unreasonable size")
    return sketch


def _check_tensors(what: str, tensors: Any, like: Mapping[str, Tensor]) -> None:
    """Check names, shapes, types and that all are numbers."""
    if not isinstance(tensors, dict):
        raise ValueError(f"{what}: a {type(tensors).__name__}, must be a dict of tensors")
    if different := sorted(map(str, tensors.keys() ^ like.keys())):
        which = "missing" if different[0] in like else "not part of the network"
        raise ValueError(f"{what}: {different[0]} is {which}")
    for name, expected in like.items():
        found = tensors[name]
        if not isinstance(found, Tensor) or found.dtype != expected.dtype:
            kind = found.dtype if isinstance(found, Tensor) else type(found).__name__
            raise ValueError(f"{what}: {name} is {kind}, must be {expected.dtype}")
        if found.shape != expected.shape:
            raise ValueError(
                f"{what}: {name} has shape {list(found.shape)}, must be {list(expected.shape)}"
            )
        if not found.isfinite().all():
            raise ValueError(f"{what}: {name} is not finite everywhere")
