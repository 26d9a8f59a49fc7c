"""The tick's SQL: generated from the models, and the same rows whether it or a SQLAlchemy Session writes them."""

from __future__ import annotations

import copy
import sqlite3
import tempfile
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from conftest import make_database, process_row, sample
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Column, Integer
from sqlalchemy.orm import Session
from tick_statements import MODULES, explained, statements_of

from perftrack.sample import Sample
from perftrack.storage import insertion, opening, statements, tick_sql
from perftrack.storage.engine import engine_for
from perftrack.storage.insertion import insert_sample
from perftrack.storage.models import (
    Base,
    Boot,
    DeviceSet,
    Host,
    NameFilter,
    Process,
    ProcessSample,
    Recorder,
    SystemSample,
    columns_of,
)


@pytest.mark.parametrize("file", [statements.TICK_SQL, statements.ROWS], ids=lambda file: file.name)
def test_a_generated_module_is_what_the_models_say_now(file: Path) -> None:
    assert file.read_text() == statements.modules()[file]


def test_a_new_column_of_the_models_is_in_every_generated_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """So a row has its type, and the tick's SQL writes it: nothing else needs to know of it."""
    column = Column("faults", Integer)
    monkeypatch.setattr(
        statements, "columns_of", lambda model: [*columns_of(model), *([column] if model is ProcessSample else [])]
    )
    tick_sql, rows = (statements.modules()[file] for file in (statements.TICK_SQL, statements.ROWS))
    assert '    "faults",\n' in tick_sql
    assert rows.count("    faults: int | None\n") == 1


def test_every_statement_is_generated() -> None:
    assert {name for name in vars(tick_sql) if name.startswith(("SELECT_", "INSERT_"))} == set(statements.STATEMENTS)


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_every_statement_fits_the_tables_of_the_models(connection: sqlite3.Connection, module: ModuleType) -> None:
    """Also those that are written by hand: SQLite compiles each."""
    statements = statements_of(module)
    assert len(statements) > 3
    for statement in statements:
        explained(connection, statement, "EXPLAIN")


def test_a_forgotten_sampler_line_fails_loudly(connection: sqlite3.Connection) -> None:
    incomplete = sample(process_row())
    del incomplete.system["swap_used_bytes"]
    with pytest.raises(sqlite3.ProgrammingError, match="swap_used_bytes"):
        insert_sample(connection, incomplete)
    assert connection.execute("SELECT count(*) FROM host").fetchone() == (0,)


@pytest.mark.parametrize("known", [None, insertion.KnownIds()])
def test_the_rows_of_a_sample_are_left_as_they_are(
    connection: sqlite3.Connection, known: insertion.KnownIds | None
) -> None:
    taken = sample(process_row(pid=1), process_row(pid=2))
    before = copy.deepcopy([getattr(taken, name) for name in Sample.__slots__])
    for _ in range(2):
        insert_sample(connection, taken, known)
    assert [getattr(taken, name) for name in Sample.__slots__] == before


instants = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1)).map(
    lambda moment: moment.isoformat(" ", "microseconds")
)
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "DATETIME": instants,
    "TEXT": texts,
    "INTEGER": st.integers(0, 2**63 - 1),
    "FLOAT": st.floats(0, 1e6),
}


def rows(model: type[Base], **fixed: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Rows as the sampler makes them: every column but ids, from its type; NULL where that is allowed."""
    columns = [
        column
        for column in model.__table__.columns
        if not (column.name == "id" or column.foreign_keys or column.info.get("is_of_condensing"))
    ]
    by_type = {
        column.name: st.none() | VALUES[str(column.type)] if column.nullable else VALUES[str(column.type)]
        for column in columns
    }
    return st.fixed_dictionaries(by_type | fixed)


processes = st.builds(
    lambda process, counters, text: process | counters | {"filter": text},
    rows(Process, pid=st.integers(1, 3), started_ticks=st.none() | st.integers(0, 2), name=st.sampled_from("ab")),
    rows(ProcessSample),
    st.sampled_from(["", "java", "python"]),
)
samples = st.lists(
    st.builds(
        Sample,
        st.fixed_dictionaries({"name": st.sampled_from(["here", "there"])}),
        st.fixed_dictionaries(
            {"key": st.none() | st.sampled_from(["one", "two"]), "booted_at": st.none() | instants}
        ),
        st.none() | rows(Recorder, selection=st.sampled_from(["--all", "--top 5"])),
        rows(
            SystemSample,
            disk_set=st.none() | st.sampled_from(["sda", "sda sdb"]),
            net_set=st.none() | st.just("lo"),
            cgroups_seen=st.none(),
        ),
        st.lists(processes, max_size=4, unique_by=lambda row: (row["pid"], row["started_ticks"], row["name"])),
    ),
    max_size=4,
    unique_by=lambda sample: sample.system["taken_at"],
)


@settings(max_examples=30, deadline=timedelta(seconds=5))
@given(samples)
def test_a_tick_and_a_session_write_identical_databases(taken: list[Sample]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ticked, added = f"{folder}/ticked.db", f"{folder}/added.db"
        make_database(ticked)
        make_database(added)
        with closing(opening.open_current(ticked)) as connection:
            for one in taken:
                insert_sample(connection, one)
        with Session(engine_for(added, write=True)) as session, session.begin():
            for one in taken:
                add_through_session(session, one)
        assert dump(ticked) == dump(added)


def add_through_session(session: Session, one: Sample) -> None:
    boot = added_boot(session, one)
    recorder = found_or_new(session, Recorder, **one.recorder).id if one.recorder else None
    values = {name: parsed(value) for name, value in one.system.items()}
    sets = [(name, values.pop(name)) for name in ("disk_set", "net_set")]
    values |= {f"{name}_id": names and found_or_new(session, DeviceSet, names=names).id for name, names in sets}
    system = SystemSample(boot_id=boot.id, recorder_id=recorder, **values)
    session.add(system)
    session.flush()
    for row in one.processes:
        name_filter = found_or_new(session, NameFilter, text=row["filter"], rank=0)
        identity = {"boot_id": boot.id} | {name: row[name] for name in ("pid", "started_ticks", "name")}
        about = {name: parsed(row[name]) for name in ("started_at", "ppid", "username", "command")}
        process = found_or_new(session, Process, identity, **about)
        counters = {
            column.name: row[column.name]
            for column in ProcessSample.__table__.columns
            if not (column.foreign_keys or column.info.get("is_of_condensing"))
        }
        session.add(ProcessSample(sample_id=system.id, process_id=process.id, filter_id=name_filter.id, **counters))
        session.flush()


def added_boot(session: Session, one: Sample) -> Boot:
    """Return the boot of a sample; its machine has the name of the sample then."""
    if one.boot["key"] is None:
        found = session.query(Boot).join(Host).filter(Boot.key.is_(None), Host.name == one.host["name"]).first()
    else:
        found = session.query(Boot).filter_by(key=one.boot["key"]).first()
    if found is None:
        host = found_or_new(session, Host, **one.host)
        found = Boot(host_id=host.id, key=one.boot["key"], booted_at=parsed(one.boot["booted_at"]))
        session.add(found)
    else:
        other = session.query(Host).filter_by(**one.host).first()
        if other is None:
            session.get_one(Host, found.host_id).name = one.host["name"]
        else:
            found.host_id = other.id
    session.flush()
    return found


def found_or_new(session: Session, model: Any, identity: dict[str, Any] | None = None, **values: Any) -> Any:
    found = session.query(model).filter_by(**(identity or values)).first()
    if found is None:
        found = model(**(identity or {}), **values)
        session.add(found)
        session.flush()
    return found


def parsed(value: Any) -> Any:
    """Give a Session the datetimes that the sampler gives as text."""
    looks_like_an_instant = isinstance(value, str) and len(value) == 26 and value[4] == "-" and value[19] == "."
    return datetime.fromisoformat(value) if looks_like_an_instant else value


def dump(path: str) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE source SET uuid = 'this one', made_at = 'now'")  # which differ by intent
        return list(connection.iterdump())


def test_the_dump_that_is_compared_holds_the_rows(path: str, connection: sqlite3.Connection) -> None:
    insert_sample(connection, sample(process_row(name="needle")))
    connection.close()
    assert any("needle" in line for line in dump(path))
    assert Path(path).exists()
