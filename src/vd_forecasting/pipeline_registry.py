"""Which pipelines there are.

::

    ingest ──> the file that vd_raw reads; only when asked for

    data_engineering ──> vd_clean ──┬──> single_vd_lstm ────────────┐
                                    ├──> single_vd_xlstm ───────────┴──> compare_single_vd ─────┐
                                    ├──> multi_vd_lstm ─────────────┐                           │
                                    ├──> multi_vd_xlstm ────────────┴──> compare_multi_vd ──────┼──> comprehensive report
                                    ├──> independent_multi_vd_lstm ─┐                           │
                                    └──> independent_multi_vd_xlstm ┴──> compare_independent… ──┘

    data_engineering ──> vd_clean ──┬──> global_vd_lstm ────────────┐
                                    └──> global_vd_xlstm ───────────┴──> compare_global_vd; only when asked for

    vd_raw, a recent file ───┬──> forecast_{mode}_{model}, one for each experiment; only when asked for
    best_model, windows ─────┘

    best_model ──> export_{mode}_{model}, one for each of the six; only when asked for

    vd_clean ──> tune_{mode}_{model}, one for each experiment; only when asked for

The comprehensive report takes in what compare_global_vd has left. A comparison also makes the
forecasts without a network, from ``vd_clean``.
"""  # noqa: E501

from functools import cache

from kedro.pipeline import Pipeline

from vd_forecasting.pipelines import (
    data_engineering,
    data_quality,
    export,
    forecast,
    ingest,
    reporting,
    simulate,
    training,
    tune,
)
from vd_forecasting.pipelines.baselines import create_pipeline as create_baselines
from vd_forecasting.pipelines.namespaces import across_namespaces
from vd_forecasting.vocabulary import EVERY_MODE, MODELS, MODES

SHARED = {"params:split", "params:cleaning", "params:calendar", "params:compute"}
SCORING = {"params:evaluation.mape_min_truth"}


def experiment(mode: str, model: str) -> Pipeline:
    """Windows, training, evaluation and report of one experiment, in its namespace."""
    trained = Pipeline(
        training.create_pipeline(mode, model),
        namespace=f"{mode}_{model}",
        inputs={"vd_clean"},
        parameters=SHARED | SCORING,
    )
    return trained + experiment_report(mode, model)


def experiment_report(mode: str, model: str) -> Pipeline:
    """The report of one experiment, in its namespace."""
    report = reporting.create_experiment_report()
    parameters = SCORING | {"params:report"}
    return Pipeline(report, namespace=f"{mode}_{model}", parameters=parameters)


def baselines(mode: str) -> Pipeline:
    """The forecasts without a network, in the namespace of the mode's comparison.

    They have windows like those of the mode's LSTM, so that they see what the networks see.
    """
    return across_namespaces(
        create_baselines(mode),
        namespace=f"compare_{mode}",
        inputs={"vd_clean"},
        outputs={name: f"{mode}_baselines.{name}" for name in ("predictions", "validation")},
        parameters={name: name for name in (*SHARED, "params:baselines")}
        | {"params:windows": f"params:{mode}_lstm.windows"},
    )


def register_pipelines() -> dict[str, Pipeline]:
    """All pipelines by the name that ``kedro run --pipeline`` takes."""
    return dict(_pipelines())


@cache
def _pipelines() -> dict[str, Pipeline]:
    """The same, made once: Kedro registers them again for every run it is asked for."""
    clean = data_engineering.create_pipeline() + data_quality.create_pipeline()
    experiments = {
        (mode, model): experiment(mode, model) for mode in EVERY_MODE for model in MODELS
    }
    comparisons = {
        mode: clean
        + sum((experiments[mode, model] for model in MODELS), Pipeline([]))
        + baselines(mode)
        + reporting.create_comparison(mode)
        for mode in EVERY_MODE
    }
    comprehensive = reporting.create_comprehensive()
    compare_all = sum((comparisons[mode] for mode in MODES), comprehensive)
    reports = [experiment_report(mode, model) for mode in EVERY_MODE for model in MODELS]
    reports += [reporting.create_comparison(mode) for mode in EVERY_MODE]
    forecasts = {
        mode: sum((forecast.create_pipeline(mode, model) for model in MODELS), Pipeline([]))
        for mode in EVERY_MODE
    }
    studies = {
        mode: sum((tune.create_pipeline(mode, model) for model in MODELS), clean)
        for mode in EVERY_MODE
    }
    exports = [export.create_pipeline(mode, model) for mode in MODES for model in MODELS]
    return {
        "__default__": compare_all,
        "compare_all": compare_all,
        "data_engineering": clean,
        "export": sum(exports, Pipeline([])),
        "forecast": sum((forecasts[mode] for mode in MODES), Pipeline([])),
        "forecast_global_vd": forecasts["global_vd"],
        "ingest": ingest.create_pipeline(),
        "reporting": sum(reports, comprehensive),
        "simulate": simulate.create_pipeline(),
        "tune": sum((studies[mode] for mode in MODES), Pipeline([])),
        "tune_global_vd": studies["global_vd"],
        **{f"compare_{mode}": pipeline for mode, pipeline in comparisons.items()},
        **{f"report_{'_'.join(key)}": clean + pipeline for key, pipeline in experiments.items()},
    }
