"""How much memory a file may take when it is read: the one place for such limits.

A file of a few kilobytes can declare more values, longer names or more repetitions than any machine
holds. Every reader therefore asks before it allocates.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kedro.io import DatasetError

from vd_forecasting.datasets.places import Place, size_of
from vd_forecasting.wording import megabytes

MEMORY_MB = 512
"""What any file may take, however small it is."""

UNFOLDING = 100
"""What a larger file may take, in times its own size; measurements unfold 3 to 20 times."""

COPIES = 4
"""Bytes of memory that a character takes while texts are read, and in an array."""

MOST_NODES = 2_000_000
"""Dicts, lists and single values of a checkpoint, counted as often as they are referred to."""

MOST_YAML_NODES = 50_000
"""The same of a configuration file; aliases refer to what stands elsewhere."""

MOST_VALUE_BYTES = 8 * 2**30
"""The array of a source that is not streamed."""

MOST_STEPS = 20_000_000
"""Time steps of a source: 38 years of minutes."""

ALWAYS_UNPACKED_BYTES = 64 * 2**20
MOST_RATIO = 200
"""What unpacks to more than both, in bytes and in times what is stored, is refused. Ten times is
usual for detector data."""

MOST_LIST_BYTES = 8 * 2**20
"""A list of detectors or of their places."""

MOST_LABELS = 200_000
MOST_LABEL_BYTES = 200
"""Columns of a pandas HDF5 file, and the name of each."""

MOST_MEMBERS = 5_000_000
"""Files of an archive: nine years of minutes."""

MOST_MEMBER_BYTES = 64 * 2**20
"""A file of an archive, unpacked, or a line of one; a minute of 3,000 detectors takes 5 MB."""

MOST_DICTIONARY_BYTES = 64 * 2**20
"""What LZMA keeps of the content that it has unpacked."""

MOST_LINES_BYTES = 4 * 2**30
"""JSON lines in one file; a day of 3,000 detectors takes 1.5 GB."""

MOST_PARTS = 4_000_000
"""Tags or values of such a file."""

MOST_RECORDS = 8_000_000
"""Records of one file; a day of 4,000 detectors has 5.8 million."""

ALWAYS_RECORDS = 200_000
RECORD_BYTES = 4
"""Beyond the former, each record must take so many bytes; nights without a vehicle take 8."""

MOST_IDLE_LINES = 1000
"""Lines without a record, beyond two for each with one."""


@dataclass(frozen=True)
class MemoryLimit:
    """What reading one file may take; ``memory_mb`` is a key of its catalog entry."""

    path: Place
    memory_mb: int = MEMORY_MB
    stored: int = 0
    """Size of the files, where ``path`` is a folder or a pattern of names."""

    @cached_property
    def file_bytes(self) -> int:
        """Size of the file, when it was first asked for."""
        return max(self.stored or size_of(self.path), 1)

    @property
    def most_bytes(self) -> int:
        """The limit."""
        return max(self.memory_mb * 10**6, UNFOLDING * self.file_bytes)

    def check(self, needed: int, what: str) -> None:
        """Refuse, by a DatasetError that names file, limit and key, what needs more memory."""
        if needed > self.most_bytes:
            raise DatasetError(
                f"{self.path}: {what}: {megabytes(needed)} of memory, more than "
                f"{megabytes(self.most_bytes)} for a file of {self.file_bytes:,} bytes; "
                "set memory_mb in its catalog entry if the file is right"
            )

    def check_names(self, longest: int, count: int, what: str) -> None:
        """Refuse names whose array, in which each takes as much as the longest, needs too much."""
        self.check(
            COPIES * longest * count, f"{what} has {longest:,} characters, times {count:,} names"
        )


def count_nodes(root: Any, parts: Callable[[Any], Iterable[Any]], most: int) -> int:
    """The nodes of a tree, a shared one counted as often as it is referred to; ``most + 1`` if
    there are more, or one holds itself."""
    counts: dict[int, int] = {}
    above: set[int] = set()
    todo = [(root, False)]
    while todo:
        node, is_counted = todo.pop()
        if is_counted:
            above.discard(id(node))
            total = 1 + sum(counts[id(part)] for part in parts(node))
            counts[id(node)] = min(total, most + 1)
        elif id(node) in above:
            return most + 1
        elif id(node) not in counts:
            above.add(id(node))
            todo += [(node, True), *((part, False) for part in parts(node))]
    return counts[id(root)]
