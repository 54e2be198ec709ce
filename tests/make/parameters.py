"""Parameter blocks that tests share."""

from vd_forecasting.parameters import Calendar, Cleaning, Evaluation, Intervals, Report, Split

SPLIT = Split(train=0.7, val=0.1, test=0.2)
CALENDAR = Calendar(holidays=())
REPORT = Report(language="en")
INTERVALS = Intervals(levels=(0.5, 0.9), adaptive_step=0.005)


def make_evaluation(**changed: object) -> Evaluation:
    """How forecasts are scored by default, but for what is changed."""
    default = {
        "mape_min_truth": 1.0,
        "congestion_speed": 0.6,
        "bootstrap_repetitions": 100,
        "confidence": 0.95,
    }
    return Evaluation.model_validate(default | changed)


CLEANING = Cleaning.model_validate(
    {
        "interval": None,
        "error_codes": (-99, 999),
        "min_observed": 0.5,
        "features": {
            "avg_speed": {"unit": "km/h", "range": (0, 200), "stuck_after": "3h"},
            "total_volume": {"unit": "veh/interval", "error_codes": (-99,)},
        },
    }
)
