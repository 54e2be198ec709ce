"""Which pipelines there are.

::

    ingest ──> the file that vd_raw reads; only when asked for

    data_engineering ──> vd_clean ──┬──> single_vd_lstm ────────────┐
                                    ├──> single_vd_xlstm ───────────┴──> compare_single_vd ─────┐
                                    ├──> multi_vd_lstm ─────────────┐                           │
                                    ├──> multi_vd_xlstm ────────────┴──> compare_multi_vd ──────┼──> comprehensive report
                                    ├──> independent_multi_vd_lstm ─┐                           │
                                    └──> independent_multi_vd_xlstm ┴──> compare_independent… ──┘

A comparison also makes the forecasts without a network, from ``vd_clean``.
"""  # noqa: E501

from kedro.pipeline import Pipeline

from vd_forecasting.pipelines import (
    data_engineering,
    data_quality,
    ingest,
    reporting,
    simulate,
    training,
)
from vd_forecasting.pipelines.baselines import create_pipeline as create_baselines
from vd_forecasting.pipelines.namespaces import across_namespaces
from vd_forecasting.vocabulary import MODELS, MODES

SHARED_PARAMETERS = {
    "params:split",
    "params:cleaning",
    "params:compute",
    "params:evaluation.mape_min_truth",
}


def experiment(mode: str, model: str) -> Pipeline:
    """Windows, training, evaluation and report of one experiment, in its namespace."""
    trained = Pipeline(
        training.create_pipeline(mode, model),
        namespace=f"{mode}_{model}",
        inputs={"vd_clean"},
        parameters=SHARED_PARAMETERS,
    )
    return trained + experiment_report(mode, model)


def experiment_report(mode: str, model: str) -> Pipeline:
    """The report of one experiment, in its namespace."""
    return Pipeline(
        reporting.create_experiment_report(),
        namespace=f"{mode}_{model}",
        parameters={"params:evaluation.mape_min_truth"},
    )


def baselines(mode: str) -> Pipeline:
    """The forecasts without a network, in the namespace of the mode's comparison.

    They have windows like those of the mode's LSTM, so that they see what the networks see.
    """
    shared = ("params:split", "params:cleaning", "params:baselines", "params:compute")
    return across_namespaces(
        create_baselines(mode),
        namespace=f"compare_{mode}",
        inputs={"vd_clean": "vd_clean"},
        outputs={"predictions": f"{mode}_baselines.predictions"},
        parameters={
            "params:windows": f"params:{mode}_lstm.windows",
            **{name: name for name in shared},
        },
    )


def register_pipelines() -> dict[str, Pipeline]:
    """All pipelines by the name that ``kedro run --pipeline`` takes."""
    clean = data_engineering.create_pipeline() + data_quality.create_pipeline()
    experiments = {(mode, model): experiment(mode, model) for mode in MODES for model in MODELS}
    comparisons = {
        mode: clean
        + sum((experiments[mode, model] for model in MODELS), Pipeline([]))
        + baselines(mode)
        + reporting.create_comparison(mode)
        for mode in MODES
    }
    comprehensive = reporting.create_comprehensive()
    compare_all = sum(comparisons.values(), Pipeline([])) + comprehensive
    reports = (
        *(experiment_report(mode, model) for mode, model in experiments),
        *(reporting.create_comparison(mode) for mode in MODES),
        comprehensive,
    )
    return {
        "__default__": compare_all,
        "compare_all": compare_all,
        "data_engineering": clean,
        "ingest": ingest.create_pipeline(),
        "reporting": sum(reports, Pipeline([])),
        "simulate": simulate.create_pipeline(),
        **{f"compare_{mode}": pipeline for mode, pipeline in comparisons.items()},
        **{
            f"report_{mode}_{model}": clean + pipeline
            for (mode, model), pipeline in experiments.items()
        },
    }
