from vd_forecasting.running.staleness.fingerprint import Fingerprint
from vd_forecasting.running.staleness.reasons import differences


def made_with(**compute: object) -> Fingerprint:
    return {
        "code": {},
        "parameters": {"compute": compute},
        "inputs": {},
        "datasets": {},
        "versions": {},
        "outputs": {},
    }


def test_the_number_of_threads_makes_nothing_stale() -> None:
    before = made_with(threads=2, accelerator="cpu")
    assert differences(before, made_with(threads=1, accelerator="cpu")) == []
    assert differences(before, made_with(threads=1, accelerator="gpu")) == [
        'parameter compute.accelerator "cpu" → "gpu"'
    ]
