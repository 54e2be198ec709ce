"""Time spans in words."""

import numpy as np

_UNITS = (("day", 86_400_000_000_000), ("h", 3_600_000_000_000), ("min", 60_000_000_000))


def in_words(span: np.timedelta64) -> str:
    """A span in its two leading units: ``2 days 3 h``, ``1 h 30 min``, ``5 min``, ``20 s``."""
    left = int(span.astype("timedelta64[ns]").astype(np.int64))
    parts: list[str] = []
    for name, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            plural = "s" if name == "day" and count > 1 else ""
            parts.append(f"{count:,} {name}{plural}")
    if left or not parts:
        parts.append(f"{left / 1e9:g} s")
    return " ".join(parts[:2])
