"""Pages and plots: of each experiment, of each mode, and of everything."""

from vd_forecasting.pipelines.reporting.pipeline import (
    create_comparison,
    create_comprehensive,
    create_experiment_report,
)

__all__ = ["create_comparison", "create_comprehensive", "create_experiment_report"]
