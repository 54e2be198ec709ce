"""One template for the searches of all experiments.

::

    windows, study ──► search ──► found, in memory
    found ──► write_results ──► trials, tuned, block, params
    found ──► write_page ──► page

``windows`` are those of the experiment, ``study`` is where the trials are kept.
"""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.namespaces import across_namespaces
from vd_forecasting.pipelines.training.pipeline import windows_node
from vd_forecasting.pipelines.tune.page import write_page
from vd_forecasting.pipelines.tune.results import write_results
from vd_forecasting.pipelines.tune.search import tune_lstm, tune_xlstm

SEARCH = {"lstm": tune_lstm, "xlstm": tune_xlstm}
RESULTS = ("trials", "tuned", "block", "params")
OF_BLOCK = ("model", "training", "space", "tuned")
SHARED = ("evaluation.mape_min_truth", "compute", "tuning")


def create_pipeline(mode: str, model: str) -> Pipeline:
    """Search for the settings of one experiment, in the namespace ``tune_{mode}_{model}``, on its
    windows, which are made too."""
    experiment = f"{mode}_{model}"
    settings = [f"params:{name}" for name in (*OF_BLOCK, *SHARED)]
    template = Pipeline(
        [
            Node(SEARCH[model], ["windows", *settings, "study"], "found", name="search"),
            Node(write_results, "found", list(RESULTS), name="write_results"),
            Node(write_page, ["found", "params:report"], "page", name="write_page"),
        ]
    )
    of_study = across_namespaces(
        template,
        namespace=f"tune_{experiment}",
        inputs={"windows": f"{experiment}.windows"},
        parameters={
            **{f"params:{name}": f"params:{experiment}.{name}" for name in OF_BLOCK},
            **{f"params:{name}": f"params:{name}" for name in (*SHARED, "report")},
        },
    )
    windows = Pipeline(
        [windows_node(mode, "windows")],
        namespace=experiment,
        inputs={"vd_clean"},
        parameters={f"params:{name}" for name in ("split", "cleaning", "calendar")},
    )
    return windows + of_study
