"""Totals of a recording and of its Parquet export, as pyarrow and DuckDB see them: a JSON object for each of the four ways.

Owns: the questions. Must not know: the right answers, which twtrace's own reader gives.
"""
import json
import sys

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

stream, parquet = sys.argv[1:]


def by_arrow(table):
    table.validate(full=True)
    text = lambda name: table[name].cast(pa.string())
    counts = pa.table({"event": text("event")}).group_by("event").aggregate([([], "count_all")])
    return {
        "rows": table.num_rows,
        "events": {row["event"]: row["count_all"] for row in counts.to_pylist()},
        "sports": pc.sum(table["sport"].cast(pa.int64())).as_py(),
        "cookies": pc.count(table["cookie"]).as_py(),
        "lost": pc.sum(table["count"]).as_py() or 0,
        "comms": pc.count_distinct(text("comm")).as_py(),
        "saddrs": pc.count_distinct(text("saddr")).as_py(),
        "first_ns": pc.min(table["time"].cast(pa.int64())).as_py(),
        "last_mono_ns": pc.max(table["mono_ns"]).as_py(),
    }


def by_duckdb(source):
    counts = duckdb.sql(f"select event::varchar, count(*) from {source()} group by 1").fetchall()
    (row,) = duckdb.sql(
        f"""select count(*), sum(sport)::bigint, count(cookie), coalesce(sum("count"), 0)::bigint,
        count(distinct comm), count(distinct saddr), min(epoch_ns(time)), max(mono_ns) from {source()}"""
    ).fetchall()
    names = ["rows", "sports", "cookies", "lost", "comms", "saddrs", "first_ns", "last_mono_ns"]
    return dict(zip(names, row), events=dict(counts))


def recording():
    """A stream is read once; DuckDB finds the reader by its name."""
    global reader
    reader = ipc.open_stream(stream)
    return "reader"


json.dump(
    {
        "pyarrow, stream": by_arrow(ipc.open_stream(stream).read_all()),
        "pyarrow, parquet": by_arrow(pq.read_table(parquet)),
        "duckdb, stream": by_duckdb(recording),
        "duckdb, parquet": by_duckdb(lambda: f"read_parquet('{parquet}')"),
    },
    sys.stdout,
)
