"""The nodes that search for settings; what they train with takes seconds to import."""

from dataclasses import replace
from functools import partial

import pandas as pd

from vd_forecasting.artefacts import Experiment, WindowBlocks, WindowSet
from vd_forecasting.datasets import Studies
from vd_forecasting.parameters import (
    Compute,
    LSTMModel,
    LSTMSpace,
    Space,
    Training,
    Tuning,
    XLSTMModel,
    XLSTMSpace,
)
from vd_forecasting.pipelines.tune.found import Found, SearchedData
from vd_forecasting.pipelines.tune.settings import settings_of, without_absent_blocks
from vd_forecasting.provenance import digest, version_of

FREE = ("compute.threads",)
"""May differ between the runs of a study: it moves the last bits of a loss."""


def tune_lstm(
    windows: WindowBlocks,
    model: LSTMModel,
    training: Training,
    space: LSTMSpace,
    mape_min_truth: float,
    compute: Compute,
    tuning: Tuning,
    study: Studies,
) -> Found:
    """Search for the settings of an LSTM. See :func:`tune`."""
    settings = (model, training, compute, mape_min_truth)
    return tune(Experiment(before_test(windows), "lstm", *settings), space, tuning, study)


def tune_xlstm(
    windows: WindowBlocks,
    model: XLSTMModel,
    training: Training,
    space: XLSTMSpace,
    mape_min_truth: float,
    compute: Compute,
    tuning: Tuning,
    study: Studies,
) -> Found:
    """Search for the settings of an xLSTM. See :func:`tune`."""
    settings = (model, training, compute, mape_min_truth)
    return tune(Experiment(before_test(windows), "xlstm", *settings), space, tuning, study)


def before_test(blocks: WindowBlocks) -> WindowSet:
    """The windows of the first test block without its test split, which no setting may know."""
    windows = blocks.blocks[min(blocks.blocks)]
    return replace(windows, data=windows.data.isel(time=slice(0, windows.ends["val"])))


def tune(experiment: Experiment, space: Space, tuning: Tuning, studies: Studies) -> Found:
    """Search for the settings with the lowest validation loss, or continue to."""
    from vd_forecasting.pipelines.training.memory import keep_freed_memory  # noqa: PLC0415
    from vd_forecasting.pipelines.training.train import torch_threads  # noqa: PLC0415  (torch)
    from vd_forecasting.pipelines.tune.study import search  # noqa: PLC0415
    from vd_forecasting.pipelines.tune.trial import train_trial  # noqa: PLC0415

    seed = experiment.training.seeds[0]
    training = experiment.training.model_copy(update={"seeds": (seed,)})
    experiment = replace(experiment, training=training)
    model, windows = experiment.model_parameters, experiment.windows
    until = pd.Timestamp(windows.time[-1]).isoformat()
    keep_freed_memory()
    with torch_threads(experiment.compute.threads):
        return search(
            studies,
            study_name(experiment, space),
            SearchedData(experiment.name, windows.source, until),
            space,
            settings_of(space, model, training),
            partial(without_absent_blocks, model=model),
            tuning.budget,
            seed,
            partial(train_trial, experiment),
        )


def study_name(experiment: Experiment, space: Space) -> str:
    """A digest of all that the trials of a study have in common: data of training and validation,
    settings that are not searched, the space, the code of trainings, and versions."""
    from vd_forecasting.models.device import find_device  # noqa: PLC0415
    from vd_forecasting.pipelines.training.resume import made_with  # noqa: PLC0415

    device = find_device(experiment.compute.accelerator)
    free = {*FREE, *space.searched}
    common = {
        name: {key: value for key, value in made.items() if key not in free}
        for name in experiment.windows.models
        for made in [made_with(experiment, name, device)]
    }
    own = (experiment.name, experiment.training.seeds, space.model_dump(mode="json"))
    return digest([*own, common, version_of("optuna")])
