"""``python -m vd_forecasting``: the commands of :mod:`.cli` without Kedro's."""

import os
import sys
from importlib import import_module

from yaml import YAMLError

from vd_forecasting.wording import with_cause

LOGGING_ERRORS = (YAMLError, ValueError, TypeError, AttributeError)
"""What Kedro raises of a logging.yml that it cannot use."""


def main() -> None:
    """Run :func:`.cli.main`, unless Kedro cannot be imported because of conf/logging.yml."""
    try:
        import_module("kedro.framework.project")
    except LOGGING_ERRORS as error:
        name = os.environ.get("KEDRO_LOGGING_CONFIG", "conf/logging.yml")
        sys.exit(f"Error: {name}: {with_cause(error)}")
    import_module("vd_forecasting.cli").main()


if __name__ == "__main__":
    main()
