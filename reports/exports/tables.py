"""Every list of the JSON export with the types of its schema: as Parquet files, and as frames of pandas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pandas
import pyarrow
from msgspec import inspect
from pyarrow import parquet

from bench.storage import write_atomically
from reports.export import document
from reports.load import LoadedRun
from reports.schema import Document
from reports.table import rows

_TYPES: dict[type[inspect.Type], pyarrow.DataType] = {
    inspect.StrType: pyarrow.string(),
    inspect.LiteralType: pyarrow.string(),
    inspect.IntType: pyarrow.int64(),
    inspect.FloatType: pyarrow.float64(),
    inspect.BoolType: pyarrow.bool_(),
}


def write(run: LoadedRun, target: Path) -> None:
    """`target`/rows.parquet and so on; the windows are in the run's own windows.parquet."""
    target.mkdir(parents=True, exist_ok=True)
    for name, table in _tables(run).items():
        sink = pyarrow.BufferOutputStream()
        parquet.write_table(table, sink, compression="zstd")
        write_atomically(target / f"{name}.parquet", sink.getvalue().to_pybytes())


def frames(run: LoadedRun) -> dict[str, pandas.DataFrame]:
    """By the list's name in the document; "windows": those of the run. An unknown is <NA>."""
    found = {name: table.to_pandas(types_mapper=pandas.ArrowDtype) for name, table in _tables(run).items()}
    return {**found, "windows": pandas.read_parquet(run.folder / "windows.parquet", dtype_backend="pyarrow")}


def _tables(run: LoadedRun) -> dict[str, pyarrow.Table]:
    whole = document(run, rows(run))
    about = {name: str(whole[name]) for name in ("study", "created_utc", "schema")}
    return {
        name: pyarrow.Table.from_pylist(whole.get(name, []), schema=schema.with_metadata(about))
        for name, schema in schemas().items()
    }


def schemas() -> dict[str, pyarrow.Schema]:
    """Of every list of records in the document, by its name there."""
    found = {}
    for field in msgspec.structs.fields(Document):
        kind = _known(inspect.type_info(field.type))
        if isinstance(kind, inspect.ListType) and isinstance(kind.item_type, inspect.StructType):
            found[field.name] = pyarrow.schema([(one.name, _arrow(one.type)) for one in kind.item_type.fields])
    return found


def _arrow(kind: inspect.Type) -> Any:
    known = _known(kind)
    if isinstance(known, inspect.ListType):
        return pyarrow.list_(_arrow(known.item_type))
    if isinstance(known, inspect.StructType):
        return pyarrow.struct([(one.name, _arrow(one.type)) for one in known.fields])
    return _TYPES[type(known)]


def _known(kind: inspect.Type) -> inspect.Type:
    """Without "or unknown"."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    return next(one for one in kind.types if not isinstance(one, inspect.NoneType))
