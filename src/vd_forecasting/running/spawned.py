"""Introduces the project to a worker process that was spawned.

Where ParallelRunner spawns its workers (macOS, Windows, Linux from Python 3.14 on), such a process
knows nothing of the project, and Kedro then runs no hooks in it: no log, no fingerprints. A worker
first imports :mod:`vd_forecasting.pipelines`, for the node it is sent, and that imports this.
"""

from multiprocessing import parent_process

from kedro.framework import project

if parent_process() is not None and project.PACKAGE_NAME is None:
    # Not configure_project: Kedro 1.7 would call it again with every node, and at the second call
    # makes the logging configuration a part of itself.
    package = __name__.split(".")[0]
    project.settings.configure(f"{package}.settings")
    project.pipelines.configure(f"{package}.pipeline_registry")
