"""Log messages stay on their line, whatever names of files they hold."""

import logging

from vd_forecasting.wording import without_controls


class InertRecord(logging.LogRecord):
    """A record whose message cannot begin a line of a log, nor colour it."""

    def getMessage(self) -> str:
        return without_controls(super().getMessage())


def make_logs_inert() -> None:
    """Make it so for every handler of this process, also those that are configured later."""
    logging.setLogRecordFactory(InertRecord)
