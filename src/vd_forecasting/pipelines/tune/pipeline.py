"""One template for the searches of all experiments.

::

    vd_clean ──► make_windows ──► windows
    windows, study ──► search ──► found, in memory
    found ──► write_results ──► trials, tuned, block, params
    found ──► write_page ──► page

``windows`` are like those of the experiment, but always of the parameters of now; ``study`` is
where the trials are kept.
"""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.namespaces import across_namespaces
from vd_forecasting.pipelines.training.pipeline import windows_node
from vd_forecasting.pipelines.tune.page import write_page
from vd_forecasting.pipelines.tune.results import write_results
from vd_forecasting.pipelines.tune.search import tune_lstm, tune_xlstm

SEARCH = {"lstm": tune_lstm, "xlstm": tune_xlstm}
RESULTS = ("trials", "tuned", "block", "params")
OF_BLOCK = {"model": "untuned.model", "training": "untuned.training", "space": "space"}
"""What is searched with, and what it is called in the block of the experiment."""
OF_WINDOWS = ("split", "cleaning", "calendar")
SHARED = ("evaluation.mape_min_truth", "compute", "tuning")


def create_pipeline(mode: str, model: str) -> Pipeline:
    """Search for the settings of one experiment, in the namespace ``tune_{mode}_{model}``."""
    experiment = f"{mode}_{model}"
    settings = [f"params:{name}" for name in (*OF_BLOCK, *SHARED)]
    template = Pipeline(
        [
            windows_node(mode, "windows"),
            Node(SEARCH[model], ["windows", *settings, "study"], "found", name="search"),
            Node(write_results, "found", list(RESULTS), name="write_results"),
            Node(write_page, ["found", "params:report"], "page", name="write_page"),
        ]
    )
    of_experiment = {"windows": "windows", **OF_BLOCK}
    return across_namespaces(
        template,
        namespace=f"tune_{experiment}",
        inputs={"vd_clean"},
        parameters={
            **{f"params:{name}": f"params:{experiment}.{of}" for name, of in of_experiment.items()},
            **{f"params:{name}": f"params:{name}" for name in (*OF_WINDOWS, *SHARED, "report")},
        },
    )
