"""Days without the traffic of a working day."""

from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from holidays import HolidayBase


def is_day_off(time: npt.NDArray[np.datetime64], holidays: str) -> npt.NDArray[np.bool_]:
    """True on holidays and weekends, ``[T]`` of local times ``[T]``, at least one.

    ``holidays`` are dates (ISO 8601, spaces between), and weekends then Saturday and Sunday; or a
    country, whose list also knows other weekends and the working days in exchange for a holiday.
    """
    day_of = time.astype("datetime64[D]")
    days = np.arange(day_of.min(), day_of.max() + np.timedelta64(1, "D"))
    if is_country(holidays):
        country = holidays_of(holidays)
        off = np.array([not country.is_working_day(day) for day in days.astype(date)], bool)
    else:
        dates = np.array(holidays.split(), "datetime64[D]")
        off = ~np.is_busday(days, holidays=dates)
    flags: npt.NDArray[np.bool_] = off[(day_of - days[0]).astype("int64")]
    return flags


def is_country(holidays: str) -> bool:
    """True unless these are dates, or none."""
    return holidays[:1].isalpha()


def holidays_of(country: str) -> "HolidayBase":
    """The days that the ``holidays`` package knows of a country; a ValueError if it knows none."""
    try:
        from holidays import country_holidays  # noqa: PLC0415  (an extra)
    except ImportError as error:
        raise ValueError(
            f"the holidays of {country} need the package holidays; pip install -e '.[holidays]', "
            "or list the dates"
        ) from error
    try:
        return country_holidays(country)
    except NotImplementedError as error:
        raise ValueError(
            f"no holidays are known of {country!r}; use a country's code, such as TW or US, or a "
            "list of dates, such as [2024-04-04]"
        ) from error
