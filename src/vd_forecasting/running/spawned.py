"""Introduces the project to a worker process that was spawned.

Where ParallelRunner spawns its workers (macOS, Windows, Linux from Python 3.14 on), such a process
knows nothing of the project, and Kedro then runs no hooks in it: no log, no fingerprints. A worker
first imports :mod:`vd_forecasting.pipelines`, for the node it receives, and that imports this.
"""

from multiprocessing import parent_process

from vd_forecasting.running.kedro_private import configure_worker

if parent_process() is not None:
    configure_worker(__name__.split(".")[0])
