"""One template for all experiments; a mode and a model fill it in.

::

    vd_clean ──► make_windows ──► windows
    windows ──► begin_training ──► training_state, the folder a training resumes from
    windows, training_state ──► train ──► best_model, models, config, training_history
    best_model, models, windows ──► evaluate ──► predictions, fit_errors, validation
    best_model, windows ──► measure_cost ──► cost
"""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.training import blocks
from vd_forecasting.pipelines.training.evaluate import evaluate
from vd_forecasting.pipelines.training.measure_cost import measure_cost
from vd_forecasting.pipelines.training.train_nodes import begin_training, train_lstm, train_xlstm
from vd_forecasting.running.runners import LATE, REPEATS

MAKE_WINDOWS = {
    "single_vd": blocks.make_single_vd_blocks,
    "multi_vd": blocks.make_multi_vd_blocks,
    "independent_multi_vd": blocks.make_independent_multi_vd_blocks,
    "global_vd": blocks.make_global_vd_blocks,
}
TRAIN = {"lstm": train_lstm, "xlstm": train_xlstm}
ORDER = {"xlstm": LATE, "single_vd": REPEATS}
"""Kernels of the xLSTM are compiled ahead, and independent_multi_vd may train the same detector."""


def windows_node(mode: str, outputs: str) -> Node:
    """The node that makes the windows of a mode."""
    parameters = ("windows", "split", "cleaning", "calendar")
    inputs = ["vd_clean", *map("params:{}".format, parameters)]
    return Node(MAKE_WINDOWS[mode], inputs, outputs, name="make_windows")


def create_pipeline(mode: str, model: str) -> Pipeline:
    """Windows, training and evaluation of one experiment, not yet in its namespace."""
    training = ["windows", "params:training"]
    scoring = ["params:evaluation.mape_min_truth", "params:compute"]
    return Pipeline(
        [
            windows_node(mode, "windows"),
            Node(begin_training, training, "training_state", name="begin_training"),
            Node(
                TRAIN[model],
                inputs=["windows", "params:model", "params:training", *scoring, "training_state"],
                outputs=["best_model", "models", "config", "training_history"],
                name="train",
                tags=[ORDER[of] for of in (model, mode) if of in ORDER],
            ),
            Node(
                evaluate,
                inputs=["best_model", "models", "windows", *scoring],
                outputs=["predictions", "fit_errors", "validation"],
                name="evaluate",
            ),
            Node(measure_cost, ["best_model", *training], "cost", name="measure_cost"),
        ]
    )
