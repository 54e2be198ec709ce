"""``python -m vd_forecasting``: the commands of :mod:`.cli` without Kedro's."""

from vd_forecasting.cli import main

if __name__ == "__main__":
    main()
