"""Which pipelines there are.

::

    data_engineering ──> vd_clean ──┬──> single_vd_lstm ────────────┐
                                    ├──> single_vd_xlstm ───────────┴──> compare_single_vd ─────┐
                                    ├──> multi_vd_lstm ─────────────┐                           │
                                    ├──> multi_vd_xlstm ────────────┴──> compare_multi_vd ──────┼──> comprehensive report
                                    ├──> independent_multi_vd_lstm ─┐                           │
                                    └──> independent_multi_vd_xlstm ┴──> compare_independent… ──┘
"""  # noqa: E501

from kedro.pipeline import Pipeline

from vd_forecasting.parameters import MODELS, MODES
from vd_forecasting.pipelines import data_engineering, reporting, simulate, training

SHARED_PARAMETERS = {"params:split", "params:cleaning", "params:evaluation", "params:compute"}


def experiment(mode: str, model: str) -> Pipeline:
    """Windows, training, evaluation and report of one experiment, in its namespace."""
    return Pipeline(
        training.create_pipeline(mode, model) + reporting.create_experiment_report(),
        namespace=f"{mode}_{model}",
        inputs={"vd_clean"},
        parameters=SHARED_PARAMETERS,
    )


def register_pipelines() -> dict[str, Pipeline]:
    """All pipelines by the name that ``kedro run --pipeline`` takes."""
    clean = data_engineering.create_pipeline()
    experiments = {(mode, model): experiment(mode, model) for mode in MODES for model in MODELS}
    comparisons = {
        mode: clean
        + sum((experiments[mode, model] for model in MODELS), Pipeline([]))
        + reporting.create_comparison(mode)
        for mode in MODES
    }
    compare_all = sum(comparisons.values(), Pipeline([])) + reporting.create_comprehensive()
    return {
        "__default__": compare_all,
        "compare_all": compare_all,
        "data_engineering": clean,
        "simulate": simulate.create_pipeline(),
        **{f"compare_{mode}": pipeline for mode, pipeline in comparisons.items()},
        **{
            f"report_{mode}_{model}": clean + pipeline
            for (mode, model), pipeline in experiments.items()
        },
    }
