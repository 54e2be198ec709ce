import sys
from types import ModuleType

import numpy as np
import pytest

from vd_forecasting.days_off import is_day_off


@pytest.fixture
def package() -> ModuleType:
    module: ModuleType = pytest.importorskip(
        "holidays", reason="holidays, of the extra of that name, is not there"
    )
    return module


def off(holidays: str, *days: str) -> list[bool]:
    flags: list[bool] = is_day_off(np.array(days, "datetime64[ns]"), holidays).tolist()
    return flags


def test_weekends_are_days_off_from_midnight_to_midnight() -> None:
    friday_to_monday = ["2024-03-01T23:59", "2024-03-02T00:00", "2024-03-03T23:59", "2024-03-04"]
    assert off("", *friday_to_monday) == [False, True, True, False]


def test_dates_are_days_off_too() -> None:
    wednesday_to_friday = ["2024-04-03T12:00", "2024-04-04T12:00", "2024-04-05T12:00"]
    assert off("2024-04-04 2024-04-05", *wednesday_to_friday) == [False, True, True]


@pytest.mark.usefixtures("package")
def test_a_countrys_own_days() -> None:
    """As published: Tomb-Sweeping Day on a Sunday moves to Monday, 2015-04-06; the second of
    January 2015 was off in exchange for Saturday, 2014-12-27. The weekend of Saudi Arabia is Friday
    and Saturday."""
    assert off("TW", "2015-04-06", "2015-04-07", "2014-12-27", "2015-01-02", "2015-01-03") == [
        *(True, False),
        *(False, True, True),
    ]
    assert off("Taiwan", "2015-04-06") == [True]
    assert off("SA", "2024-03-07", "2024-03-08", "2024-03-09", "2024-03-10") == [
        *(False, True, True, False)
    ]


@pytest.mark.usefixtures("package")
def test_an_unknown_country() -> None:
    with pytest.raises(ValueError, match="no holidays are known of 'Atlantis'; use a country's"):
        off("Atlantis", "2024-03-07")


def test_a_country_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "holidays", None)
    with pytest.raises(ValueError, match=r"holidays of TW need .* pip install -e '.\[holidays\]'"):
        off("TW", "2024-03-07")
    assert off("2024-03-07", "2024-03-07") == [True]
