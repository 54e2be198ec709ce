"""The node that exports a model."""

from vd_forecasting.artefacts.checkpoint import Checkpoint


def to_onnx(best_model: Checkpoint) -> bytes:
    """A checkpoint as an ONNX model, :func:`vd_forecasting.models.export.to_onnx`."""
    from vd_forecasting.models import export  # noqa: PLC0415  (imports torch)

    return export.to_onnx(best_model)
