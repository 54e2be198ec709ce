"""What is answered to a request that cannot be served."""

from vd_forecasting.wording import in_one_line, shortened

MOST_CHARACTERS = 400


class RefusedError(Exception):
    """A request at fault: the status of the answer, from 400 to 499, and a line for its sender."""

    def __init__(self, status: int, line: str, retry_after: int | None = None) -> None:
        super().__init__(shortened(in_one_line(line), MOST_CHARACTERS))
        self.status = status
        self.retry_after = retry_after
        """Seconds."""
