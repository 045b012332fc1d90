"""Traces of a user: files that hold the id, in compressed columns and arrays too."""

import io
import struct
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def traces(folder: Path, user_id: int) -> list[str]:
    """The files that hold the id as decimal text or as a 64-bit number.

    Args:
        user_id: of 13 digits, so that 32 bits cannot hold it and no file has it by chance.

    Returns:
        Paths relative to the folder, sorted.
    """
    names = (str(user_id).encode(), struct.pack("<q", user_id))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [path.relative_to(folder).as_posix() for path in files if any(name in _bytes(path) for name in names)]


def _bytes(path: Path) -> bytes:
    """The bytes of a file, followed by what it holds compressed."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        table, decoded = pq.ParquetFile(path).read(), io.BytesIO()
        with pa.ipc.new_stream(decoded, table.schema) as stream:
            stream.write_table(table)
        return content + decoded.getvalue()
    if path.suffix == ".npz":
        with zipfile.ZipFile(path) as arrays:
            return b"".join([content, *map(arrays.read, arrays.namelist())])
    return content
