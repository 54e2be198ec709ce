"""Records of searches."""

from typing import Any

from vd_forecasting.artefacts import Config, Tuned


def tuned_to(config: Config) -> Tuned:
    """The record of a search that found just what an experiment was trained with."""
    rate = {"learning_rate": config.training.learning_rate}
    best = {"model": config.model_parameters, "training": rate}
    return make_tuned(config.experiment, best=best, source=config.source, until="1970-01-01")


def make_tuned(experiment: str, **changed: Any) -> Tuned:
    """Forty trials of 20 min, whose best one has a dropout of 0.2 and a rate of 0.002."""
    return Tuned.model_validate(
        {
            "experiment": experiment,
            "study": "0123456789abcdef",
            "best": {"model": {"dropout": 0.2}, "training": {"learning_rate": 0.002}},
            "source": "vd_sample.h5",
            "until": "2026-03-24T09:30:00",
            "complete": 12,
            "pruned": 27,
            "failed": 1,
            "seconds": 1190.0,
            "budget": {"seconds": 1200.0},
            **changed,
        }
    )
