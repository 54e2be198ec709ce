"""Logs a run to MLflow once it has ended, from what it saved.

:mod:`.hook` notices the end of a run, :mod:`.entries` gathers what there is to say of it and of
each of its experiments, :mod:`.numbers` the numbers among that, and :mod:`.mlflow_store`, the only
module that imports MLflow, writes it.
"""
