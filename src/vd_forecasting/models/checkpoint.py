"""A checkpoint: plain tensors, numbers and strings, enough to forecast with.

Keys: ``model`` and ``model_parameters`` name the core; ``network`` the fields of
:class:`~vd_forecasting.models.forecaster.Network`; ``weights`` a state dict per trained model and
``seed`` what they were trained from (a global network knows the VDs by their places among
``vdids``); ``scaler`` the ``mean`` and ``std`` per VD and feature, in physical units; ``range`` the
``low`` and ``high`` between which values can lie, infinite where they have no limit; ``static`` the
numbers that describe the VDs of a global network by name, NaN where unknown: an input is such a
number minus their mean, divided by their standard deviation, and 0 where unknown, of a VD never
seen too; ``vdids``, ``input_features``, ``target_features`` and the window lengths say what goes in
and comes out, ``units`` in which, by input feature. New data are to be cleaned by the rules of
``cleaning``, JSON of :class:`~vd_forecasting.parameters.Cleaning` with the interval that they saw,
and put on a clock of ``utc_offset``, "" where that is not known; ``interval_minutes`` is that after
any resampling. ``holidays`` are those of :func:`~vd_forecasting.days_off.is_day_off`; ``format`` is
:data:`FORMAT`.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.models import CORES, Forecaster, Network
from vd_forecasting.parameters import Cleaning
from vd_forecasting.wording import first_line, one_line

FORMAT = 3
"""Increased when the keys of a checkpoint or the inputs of a network change; one without the key
``format`` has 1."""

KEYS = {
    str: ("model", "holidays", "cleaning", "utc_offset"),
    dict: ("model_parameters", "network", "scaler", "range", "static", "units"),
    Mapping: ("weights",),
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


def load_forecasters(
    checkpoint: Checkpoint, names: Iterable[str] | None = None
) -> dict[str, Forecaster]:
    """The trained forecasters of a checkpoint, by name, ready to forecast (dropout off).

    With ``names`` only those, and no other weights are looked at. The checkpoint is checked before,
    see :func:`check_checkpoint`.
    """
    if names is not None or not isinstance(checkpoint["weights"], dict):
        weights = checkpoint["weights"]
        checkpoint = checkpoint | {"weights": {name: weights[name] for name in names or weights}}
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
    if type(found) is not int or found != FORMAT:
        newer = type(found) is int and found > FORMAT
        raise ValueError(
            f"the checkpoint has format {found!r}, this version reads {FORMAT}; "
            + ("update vd_forecasting, or " if newer else "")
            + "delete it and train again"
        )
    for kind, keys in KEYS.items():
        for key in keys:
            if not isinstance(checkpoint.get(key), kind):
                raise ValueError(
                    f"{key!r} of the checkpoint is missing or not of type {kind.__name__}"
                )
    if not checkpoint["weights"]:
        raise ValueError("the checkpoint holds no weights")
    _check_meaning(checkpoint)
    of_models = checkpoint["weights"]
    if not isinstance(of_models, dict):  # they are read, and checked, when they are asked for
        first = next(iter(of_models))
        of_models = {first: of_models[first]}
    for name, weights in of_models.items():
        if not (isinstance(name, str) and isinstance(weights, dict)):
            raise ValueError(
                f"weights of {name!r}: a {type(weights).__name__}, must be a dict of tensors"
            )
    sketch = _sketch(checkpoint | {"weights": of_models})
    for name, weights in of_models.items():
        _check_tensors(f"weights of {name!r}", weights, sketch.state_dict())
    shape = (len(checkpoint["vdids"]), len(checkpoint["input_features"]))
    like = torch.empty(shape, device="meta")
    _check_tensors("scaler", checkpoint["scaler"], {"mean": like, "std": like})
    if not (checkpoint["scaler"]["std"] > 0).all():
        raise ValueError("scaler: std is not above 0 everywhere")
    _check_tensors("range", checkpoint["range"], {"low": like, "high": like}, finite=False)
    if not (checkpoint["range"]["low"] <= checkpoint["range"]["high"]).all():
        raise ValueError("range: low is above high")
    _check_static(checkpoint)
    return checkpoint


def to_physical(checkpoint: Checkpoint, name: str, forecast: Tensor) -> Tensor:
    """What the forecaster of this name makes, ``[..., N, F]``, in physical units.

    It is moved to the nearest possible value. What a global network makes is of the one detector
    that ``name`` names. A ValueError says that it is not of as many detectors as the name.
    """
    features, vdids = checkpoint["input_features"], checkpoint["vdids"]
    targets = [features.index(feature) for feature in checkpoint["target_features"]]
    vds = [vdids.index(name)] if name in vdids else list(range(len(vdids)))
    if forecast.shape[-2] != len(vds):
        raise ValueError(f"{name!r} has {len(vds)} detectors, the forecast {forecast.shape[-2]}")
    mean, std = (checkpoint["scaler"][key][vds][:, targets] for key in ("mean", "std"))
    physical: Tensor = forecast * std + mean
    low, high = (checkpoint["range"][key][vds][:, targets] for key in ("low", "high"))
    return physical.clamp(low, high)


def _check_meaning(checkpoint: Checkpoint) -> None:
    """Check what the names and numbers of a checkpoint say; its tensors are checked later."""
    names = {key: checkpoint[key] for key in KEYS[list]}
    for key, values in names.items():
        if not (values and all(isinstance(value, str) for value in values)):
            raise ValueError(f"{key!r} of the checkpoint must hold strings")
        if len(set(values)) < len(values):
            raise ValueError(f"{key!r} of the checkpoint holds a name twice")
    vdids, features, targets = names.values()
    if unknown := [name for name in targets if name not in features]:
        raise ValueError(f"the target feature {unknown[0]!r} is not among the input features")
    _check_data(checkpoint)
    for key in ("sequence_length", "prediction_length", "interval_minutes"):
        if isinstance(checkpoint[key], bool) or not 0 < checkpoint[key] < math.inf:
            raise ValueError(f"{key!r} of the checkpoint is {checkpoint[key]}, must be above 0")
    known_vds = checkpoint["network"].get("known_vds", 0)
    if known_vds and len(checkpoint["weights"]) > 1:
        raise ValueError("the checkpoint holds several models, a global network is one")
    # The models are of all VDs together, or each of one and named by it, or one of each of them.
    of_one = known_vds or checkpoint["weights"].keys() <= set(vdids)
    num_vds = 1 if of_one else len(vdids)
    positions = [features.index(name) for name in targets]
    network = {
        "num_vd_features": len(features),
        "target_channels": [n * len(features) + at for n in range(num_vds) for at in positions],
        "target_shape": [num_vds, len(targets)],
        "sequence_length": checkpoint["sequence_length"],
        "prediction_length": checkpoint["prediction_length"],
    }
    if "known_vds" in checkpoint["network"]:
        network["known_vds"] = len(vdids) if known_vds else 0
    for key, expected in network.items():
        if not _equal(found := checkpoint["network"].get(key), expected):
            raise ValueError(
                f"the checkpoint describes no network for its VDIDs, features and lengths: {key} "
                f"is {found!r}, must be {expected!r}"
            )
    if not isinstance(channels := checkpoint["network"].get("num_channels"), int):
        raise ValueError("the checkpoint describes no network: it has no num_channels")
    if channels < num_vds * len(features):
        raise ValueError(f"the network has {channels} channels, too few for its VDs and features")


def _check_static(checkpoint: Checkpoint) -> None:
    """Check the numbers that describe VDs: of each VD, and each a channel of the network."""
    static = checkpoint["static"]
    if not all(isinstance(name, str) for name in static):
        raise ValueError("static: it must be a dict of tensors by name")
    like = torch.empty(len(checkpoint["vdids"]), device="meta")
    plain = {
        name
        for name, of in static.items()
        if isinstance(of, Tensor) and of.dtype == torch.float32 and of.layout == torch.strided
    }
    known = {name: of.where(~of.isnan(), 0) if name in plain else of for name, of in static.items()}
    _check_tensors("static", known, dict.fromkeys(static, like))
    network = checkpoint["network"]
    free = network["num_channels"] - network["num_vd_features"] * network["target_shape"][0]
    if len(static) > free:
        raise ValueError(f"static holds {len(static)} numbers, the network has {free} inputs left")


def _check_data(checkpoint: Checkpoint) -> None:
    """Check what a checkpoint says of the data that it forecasts from."""
    units = checkpoint["units"]
    is_text = all(isinstance(unit, str) for unit in units.values())
    if [*units] != checkpoint["input_features"] or not is_text:
        raise ValueError(f"'units' of the checkpoint are {units}, must be text by input feature")
    try:
        if Cleaning.model_validate_json(checkpoint["cleaning"]).interval is None:
            raise ValueError("they have no interval")
    except ValueError as error:
        problem = one_line(error)
        raise ValueError(f"'cleaning' of the checkpoint holds no rules: {problem}") from error


def _equal(found: Any, expected: int | list[int]) -> bool:
    if isinstance(expected, list):
        is_list = isinstance(found, list | tuple) and len(found) == len(expected)
        return is_list and all(map(_equal, found, expected))
    return type(found) is int and found == expected


def _check_settings(config: Any, settings: Mapping[str, Any]) -> None:
    """Check the settings of a core, a dataclass, by their types."""
    kinds = {field.name: field.type for field in fields(config)}
    if different := sorted(map(str, settings.keys() ^ kinds.keys())):
        raise ValueError(f"{different[0]} is {'missing' if different[0] in kinds else 'unknown'}")
    for name, kind in kinds.items():
        value = settings[name]
        if kind is int:
            fits = type(value) is int and value > 0
        elif kind is float:
            fits = type(value) in (int, float) and 0 <= value < 1
        elif kind is str:
            fits = isinstance(value, str)
        else:
            fits = isinstance(value, list | tuple) and all(type(at) is int for at in value)
        if not fits:
            raise ValueError(f"{name} is {value!r}")


def _sketch(checkpoint: Checkpoint) -> Forecaster:
    """The network with shapes but without values."""
    model, parameters = checkpoint["model"], checkpoint["model_parameters"]
    if model not in CORES:
        raise ValueError(f"model {model!r} is not known; there are {', '.join(CORES)}")
    try:
        _check_settings(CORES[model][1], parameters)
    except ValueError as error:
        raise ValueError(f"the checkpoint describes no network: {error}") from error
    tensors = sum(len(weights) for weights in checkpoint["weights"].values())
    if any(parameters.get(name, 0) > tensors for name in ("num_layers", "num_blocks")):
        raise ValueError("the checkpoint has fewer weights than layers")
    try:
        with torch.random.fork_rng(), torch.device("meta"):
            sketch = build_forecaster(checkpoint)
    except ImportError:
        raise  # says what to install
    except Exception as error:  # torch and xlstm raise what they like
        raise ValueError(f"the checkpoint describes no network ({first_line(error)})") from error
    if sum(buffer.nbytes for buffer in sketch.buffers()) > MOST_BUFFER_BYTES:
        raise ValueError("the checkpoint describes a network of unreasonable size")
    return sketch


def _check_tensors(
    what: str, tensors: Any, like: Mapping[str, Tensor], *, finite: bool = True
) -> None:
    """Check names, shapes, types and that all are numbers, also infinite ones if not ``finite``."""
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
        if found.layout != torch.strided:
            raise ValueError(f"{what}: {name} is sparse, must be dense")
        if found.shape != expected.shape:
            raise ValueError(
                f"{what}: {name} has shape {list(found.shape)}, must be {list(expected.shape)}"
            )
        if not found.isfinite().all() and (finite or found.isnan().any()):
            raise ValueError(
                f"{what}: {name} is not {'finite' if finite else 'a number'} everywhere"
            )
