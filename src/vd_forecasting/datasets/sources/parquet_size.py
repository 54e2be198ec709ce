"""What a Parquet file unfolds to, found before its values are read."""

from collections.abc import Collection
from itertools import islice
from typing import IO, Any

from vd_forecasting.datasets.limits import MemoryLimit

_CELL_BYTES = 8


def check_parquet(
    parquet: Any, file: IO[bytes], columns: Collection[str], limit: MemoryLimit
) -> None:
    """Refuse, by a DatasetError, a ``pyarrow.parquet.ParquetFile`` of ``file`` whose columns take
    more memory than the limit: a text that is stored once may be in every cell."""
    rows, schema = parquet.metadata.num_rows, parquet.schema
    limit.check(rows * len(columns) * _CELL_BYTES, f"declares {rows:,} rows")
    for number in range(parquet.metadata.num_row_groups):
        # Asked for damaged metadata, pyarrow ends the process; asked for a row, it raises an error.
        next(parquet.iter_batches(1, [number], [*columns]), None)
    for at in range(len(schema)):
        leaf = schema.column(at)
        if not {leaf.path, leaf.path.split(".")[0]} & set(columns):
            continue
        for number in range(parquet.metadata.num_row_groups):
            chunk = parquet.metadata.row_group(number).column(at)
            unfolded = max(chunk.total_uncompressed_size, chunk.total_compressed_size, 1)
            limit.check(unfolded, f"column {leaf.path!r}")
            longest = leaf.length  # of a type of fixed length
            if leaf.physical_type == "BYTE_ARRAY":
                # Cells may begin like those before them: they are looked through, a few at a time.
                few = limit.most_bytes // unfolded if "DELTA_BYTE_ARRAY" in chunk.encodings else 0
                longest = _longest_text(file, leaf.path, number, few)
            limit.check(
                longest * chunk.num_values,
                f"column {leaf.path!r} has {chunk.num_values:,} cells of up to {longest:,} bytes",
            )


def _longest_text(file: IO[bytes], column: str, group: int, few: int) -> int:
    """The longest text in the dictionary of a column, which comes with its first cell; or, if
    ``few`` is not 0, the longest cell, read by so many at a time. 0 for cells that are not texts.
    """
    import pyarrow as pa  # noqa: PLC0415  (an extra)
    import pyarrow.compute as pc  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415

    longest = 0
    with pq.ParquetFile(file, read_dictionary=[] if few else [column]) as again:
        for batch in islice(again.iter_batches(few or 1, [group], [column]), None if few else 1):
            texts = batch.column(0)
            texts = texts.dictionary if isinstance(texts, pa.DictionaryArray) else texts
            if texts.type in (pa.string(), pa.binary(), pa.large_string(), pa.large_binary()):
                longest = max(longest, pc.max(pc.binary_length(texts)).as_py() or 0)
    return longest
