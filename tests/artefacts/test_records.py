"""Records of older versions."""

from tests.make.artefacts import make_config, make_predictions
from vd_forecasting.artefacts import Config


def test_a_training_whose_rate_was_halved_can_still_be_read() -> None:
    config = make_config(make_predictions())
    old = config.model_dump(mode="json")
    for key in ("decay_epochs", "decay_steps"):
        del old["training"][key]
    old["training"] |= {"lr_patience": 2, "epochs": 50}
    found = Config.model_validate(old)
    expected = {"epochs": 50, "decay_epochs": 50, "decay_steps": 1}
    assert found.training == config.training.model_copy(update=expected)
    assert Config.model_validate_json(found.model_dump_json()) == found
