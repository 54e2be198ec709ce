"""The nodes that train; what they train with takes seconds to import, and waits until they run."""

from contextlib import suppress
from dataclasses import replace

from vd_forecasting.artefacts import Config, Experiment, History, WindowBlocks, WindowSet
from vd_forecasting.artefacts.checkpoint import Checkpoint
from vd_forecasting.datasets import TrainingState
from vd_forecasting.parameters import Compute, LSTMModel, Training, XLSTMModel
from vd_forecasting.running.shares import Share, in_parts

Trained = tuple[Checkpoint, dict[str, Checkpoint], Config, History]


def begin_training(windows: WindowBlocks, training: Training) -> list[str]:
    """Name the states that the fits of an experiment keep; states of other fits are of no use."""
    return [
        state_name(of_block, seed, name, windows.label(number))
        for number, of_block in windows.blocks.items()
        for seed in training.seeds
        for name in of_block.models
    ]


def state_name(windows: WindowSet, seed: int, name: str, block: int | None = None) -> str:
    """Name of the state that the fit of one model from one seed for one test block keeps.

    A model of one detector is named by it in all modes, whose trainings may be the same.
    """
    vds = windows.models[name]
    name = windows.vdids[vds.start] if vds.stop - vds.start == 1 else name
    return f"{seed}-{name}" if block is None else f"block{block}-{seed}-{name}"


def train_part(
    windows: WindowBlocks,
    model: LSTMModel | XLSTMModel,
    training: Training,
    mape_min_truth: float,
    compute: Compute,
    training_state: TrainingState,
    *,
    share: Share,
) -> None:
    """Train a share of the models that :func:`.train.train` trains, and leave them in their states.

    There it finds them. A model that cannot be trained is left to it, which raises the error.
    """
    from vd_forecasting.pipelines.training.train import train_model, train_together  # noqa: PLC0415

    name = "lstm" if isinstance(model, LSTMModel) else "xlstm"
    experiment = Experiment(windows.last, name, model, training, compute, mape_min_truth)
    models = (
        (number, seed, of_vds)
        for number, of_block in windows.blocks.items()
        for seed in training.seeds
        for of_vds in of_block.models
    )
    by_block: dict[int, list[tuple[int, str]]] = {}
    for number, seed, of_vds in share.of(models):
        by_block.setdefault(number, []).append((seed, of_vds))
    for number, chosen in by_block.items():
        block = windows.label(number)
        of_block = replace(experiment, windows=windows.blocks[number], block=block)
        train_together(of_block, chosen, training_state)
        for seed, of_vds in chosen:
            with suppress(ValueError):
                train_model(of_block, of_vds, seed, training_state)


@in_parts(train_part)
def train_lstm(
    windows: WindowBlocks,
    model: LSTMModel,
    training: Training,
    mape_min_truth: float,
    compute: Compute,
    training_state: TrainingState | None = None,
) -> Trained:
    """Train the LSTMs of an experiment. See :func:`.train.train`."""
    from vd_forecasting.pipelines.training.train import train  # noqa: PLC0415  (imports torch)

    experiment = Experiment(windows.last, "lstm", model, training, compute, mape_min_truth)
    return train(experiment, windows, training_state)


@in_parts(train_part)
def train_xlstm(
    windows: WindowBlocks,
    model: XLSTMModel,
    training: Training,
    mape_min_truth: float,
    compute: Compute,
    training_state: TrainingState | None = None,
) -> Trained:
    """Train the xLSTMs of an experiment. See :func:`.train.train`.

    A ``context_length`` shorter than the window is a ValueError too.
    """
    from vd_forecasting.pipelines.training.train import train  # noqa: PLC0415

    if model.context_length < windows.last.sequence_length:
        raise ValueError(
            f"context_length {model.context_length} is shorter than sequence_length "
            f"{windows.last.sequence_length}; raise context_length to at least that"
        )
    experiment = Experiment(windows.last, "xlstm", model, training, compute, mape_min_truth)
    return train(experiment, windows, training_state)
