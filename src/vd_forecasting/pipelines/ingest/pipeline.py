"""The ``ingest`` pipeline."""

from kedro.pipeline import Node, Pipeline

from vd_forecasting.pipelines.ingest.ingest import ingest


def create_pipeline() -> Pipeline:
    """Turn the source of an environment into a file in the VD HDF5 layout.

    The source is the catalog entry ``ingest_source`` in ``conf/<environment>/``; ``vd_ingested`` is
    the file that ``vd_raw`` reads next.
    """
    outputs = ["vd_ingested", "ingest_report"]
    return Pipeline([Node(ingest, "ingest_source", outputs, name="ingest")])
