"""The pipelines.

Where ParallelRunner spawns its workers (macOS, Windows, Linux from Python 3.14 on), such a process
knows nothing of the project, and Kedro then runs no hooks in it: no log, no fingerprints. A worker
first imports this package, for the node it receives, and so gets to know the project.
"""

from vd_forecasting.running.kedro_private import configure_spawned_worker

configure_spawned_worker()
