"""The networks of a checkpoint as one ONNX model, for programs without this project.

Shapes: B windows, S input steps, N VDs, P input features, K channels of the calendar, H horizons,
F target features.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.models.checkpoint import load_forecasters, to_physical

INPUTS = ("values", "calendar")
OUTPUT = "forecast"
PACKAGES = ("onnx", "onnxscript")
DESCRIBED = (
    *("model", "vdids", "input_features", "target_features", "units", "interval_minutes"),
    *("sequence_length", "prediction_length", "holidays", "utc_offset"),
)
"""Keys of a checkpoint that are metadata of the ONNX model, as JSON."""


class PhysicalForecaster(nn.Module):
    """The networks of a checkpoint, with scaler and range of possible values: physical units in
    and out.

    Not for a global network, which needs to know which VD each window is of (ValueError).
    """

    scaler_mean: Tensor
    scaler_std: Tensor

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__()
        if checkpoint["network"].get("known_vds"):
            raise ValueError("a network of all detectors, one by one, cannot be exported")
        self.checkpoint = checkpoint
        forecasters = load_forecasters(checkpoint)
        self.names = [*forecasters]
        self.forecasters = nn.ModuleList(forecasters.values())
        for name, of_inputs in checkpoint["scaler"].items():
            self.register_buffer(f"scaler_{name}", of_inputs)  # "mean" would clash in ONNX

    def forward(self, values: Tensor, calendar: Tensor) -> Tensor:
        """Map ``[B, S, N, P]``, without NaN, and ``[B, S, K]`` to ``[B, H, N, F]``."""
        scaled = (values - self.scaler_mean) / self.scaler_std
        vdids = self.checkpoint["vdids"]
        parts = []
        for name, forecaster in zip(self.names, self.forecasters, strict=True):
            at = vdids.index(name) if name in vdids else None
            own = scaled if at is None else scaled[:, :, at : at + 1]
            forecast = forecaster(torch.cat([own.flatten(2), calendar], dim=2))
            parts.append(to_physical(self.checkpoint, name, forecast))
        return torch.cat(parts, dim=2)


def num_calendar(checkpoint: Checkpoint) -> int:
    """K."""
    network = checkpoint["network"]
    of_vds: int = network["num_vd_features"] * network["target_shape"][0]
    channels: int = network["num_channels"] - of_vds
    return channels


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Hear nothing of torch's own parts: its LSTM assigns weights, its exporter is in change and
    looks for packages that it can do without."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def to_onnx(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as an ONNX model for any number of windows, :class:`PhysicalForecaster`.

    An ImportError names a package that is missing.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise ImportError(f"export needs the package {missing[0]}: pip install -e '.[export]'")
    network = PhysicalForecaster(checkpoint).eval()
    steps, (num_vds, num_features) = checkpoint["sequence_length"], network.scaler_mean.shape
    # Two windows, as torch takes a dimension of one for a constant; it does not export a mere view.
    example = (
        network.scaler_mean.expand(2, steps, num_vds, num_features).contiguous(),
        torch.zeros(2, steps, num_calendar(checkpoint)),
    )
    batch = torch.export.Dim("batch")
    batches = {name: {0: batch} for name in INPUTS}
    with quiet_exporter(), torch.no_grad():
        # Left to itself, the exporter takes an LSTM apart into a loop and fails.
        exported = torch.export.export(network, example, dynamic_shapes=batches)
        program = torch.onnx.export(
            exported, input_names=INPUTS, output_names=(OUTPUT,), dynamo=True, verbose=False
        )
    assert program is not None
    described = {key: checkpoint[key] for key in DESCRIBED}
    program.model.metadata_props.update({key: json.dumps(of) for key, of in described.items()})
    content: bytes = program.model_proto.SerializeToString()
    return content
