"""Hashes of the contents of files, saved so that a big file is read once."""

import hashlib
import time
from pathlib import Path
from stat import S_ISREG

SETTLED_SECONDS = 2.0
"""Clocks of file systems tick: a file changed a moment ago may change again at the same time."""

Hashes = dict[str, list[int | str]]
"""By path: size, times of the last change of content and of inode, inode number, hash."""


def content_hash(path: Path, known: Hashes) -> str | None:
    """The SHA-256 of a file, as ``sha256sum`` prints it; None where there is no file.

    A folder is no file: it is where a node keeps its own, such as the state of a killed training.

    Args:
        path: the file.
        known: hashes of earlier calls; gets this one. An unchanged size, times and inode are taken
            for an unchanged file.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    if not S_ISREG(stat.st_mode):
        return None
    looks = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    *looked, digest = known.get(str(path), [None])
    if looked == looks:
        return str(digest)
    with path.open("rb") as file:
        sha = hashlib.sha256()
        while block := file.read(2**20):
            sha.update(block)
    changed = max(stat.st_mtime_ns, stat.st_ctime_ns) / 1e9
    if time.time() - changed > SETTLED_SECONDS:
        known[str(path)] = [*looks, sha.hexdigest()]
    return sha.hexdigest()
