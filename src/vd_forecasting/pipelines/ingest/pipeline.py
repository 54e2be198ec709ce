"""The ``ingest`` pipeline."""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.ingest.ingest import ingest


def create_pipeline() -> Pipeline:
    """Turn ``ingest_source``, which ``conf/<environment>/`` names, into a file in the VD HDF5
    layout, ``vd_ingested``, that ``vd_raw`` reads next."""
    outputs = ["vd_ingested", "ingest_report"]
    return Pipeline([Node(ingest, ["ingest_source", "params:report"], outputs, name="ingest")])
