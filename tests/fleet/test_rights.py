"""What an agent's role can do: ship its own samples, and nothing else, whatever it tries."""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterator

import pytest
from centres import Centre
from conftest import Run, query
from test_condensing import Restless

from perftrack.errors import PerftrackError, UsageError
from perftrack.fleet import agents
from perftrack.fleet.ship import ship

psycopg = pytest.importorskip("psycopg")
DENIED = psycopg.errors.InsufficientPrivilege
STAGES = ("boot", "process", "cgroup", "name_filter", "recorder", "system_sample", "process_sample", "cgroup_sample")


@pytest.fixture
def shipped(centre: Centre, connection: sqlite3.Connection, path: str) -> uuid.UUID:
    """A source of web1, with samples in the centre."""
    Restless(connection, 1).run(20)
    ship(path, centre.url())
    return uuid.UUID(query(connection, "SELECT uuid FROM source")[0])


@pytest.fixture
def agent(centre: Centre, shipped: uuid.UUID) -> Iterator[psycopg.Connection]:
    """A session of web2, which wants more than it may."""
    with psycopg.connect(centre.url("web2"), autocommit=True) as opened:
        yield opened


def everything(centre: Centre) -> list[object]:
    return [
        centre.query(f"SELECT count(*), max(t::text) FROM perftrack.{table} AS t") for table in (*STAGES, "source")
    ]


def test_no_table_can_be_read_or_written(centre: Centre, agent: psycopg.Connection) -> None:
    before = everything(centre)
    tables = centre.query(
        "SELECT relname FROM pg_class WHERE relnamespace = 'perftrack'::regnamespace AND relkind IN ('r', 'p')"
    )
    assert len(tables) > 30
    for table in tables:
        for statement in (
            f"SELECT count(*) FROM perftrack.{table}",
            f"INSERT INTO perftrack.{table} DEFAULT VALUES",
            f"DELETE FROM perftrack.{table}",
            f"TRUNCATE perftrack.{table}",
            f"COPY perftrack.{table} TO STDOUT",
            f"DROP TABLE perftrack.{table}",
        ):
            with pytest.raises(DENIED):
                agent.execute(statement.encode())
    assert everything(centre) == before


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE perftrack.mine (id int)",
        "CREATE FUNCTION perftrack.stage(int) RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION perftrack.stage() OWNER TO web2",
        "CREATE OR REPLACE FUNCTION perftrack.stage() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP FUNCTION perftrack.stage()",
        "GRANT web1 TO web2",
        "SET ROLE owner",
        "SET SESSION AUTHORIZATION web1",
        "CREATE ROLE other LOGIN",
        "CREATE SCHEMA other",
    ],
)
def test_nothing_can_be_defined(agent: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        agent.execute(statement.encode())
    assert isinstance(refused.value, (DENIED, psycopg.errors.InvalidFunctionDefinition))


def test_the_source_of_another_role_cannot_be_taken(
    centre: Centre, agent: psycopg.Connection, shipped: uuid.UUID
) -> None:
    before = everything(centre)
    opening = "SELECT * FROM perftrack.open_source(%s, NULL, 'forged', '9', now(), NULL, NULL)"
    with pytest.raises(DENIED):
        agent.execute(opening, (shipped,))
    with agent.transaction():
        agent.execute("SELECT perftrack.stage()")
        with pytest.raises(DENIED), agent.transaction():
            agent.execute("SELECT perftrack.take(%s, 20, '{}', '{}')", (shipped,))
    assert agent.execute("SELECT * FROM perftrack.histories(%s)", (shipped,)).fetchall() == [
        (shipped, None, None, False)
    ]
    assert everything(centre) == before


def test_staging_tables_can_be_filled_and_no_more(agent: psycopg.Connection) -> None:
    agent.execute("SELECT perftrack.stage()")
    agent.execute("INSERT INTO pg_temp.stage_boot (boot_id, host) VALUES (1, 'web2')")
    for statement in (
        "SELECT * FROM pg_temp.stage_boot",
        "UPDATE pg_temp.stage_boot SET boot_id = 2",
        "DROP TABLE pg_temp.stage_boot",
        "ALTER TABLE pg_temp.stage_boot ADD COLUMN more int",
        "CREATE RULE r AS ON INSERT TO pg_temp.stage_boot DO ALSO SELECT 1",
        "CREATE TEMP TABLE child () INHERITS (pg_temp.stage_boot)",
    ):
        with pytest.raises(DENIED):
            agent.execute(statement.encode())


@pytest.mark.parametrize(
    "planted",
    [
        "CREATE TEMP VIEW stage_system_sample AS SELECT 1 AS sample_id",
        "CREATE TEMP TABLE stage_process_sample (sample_id bigint)",
        "CREATE TEMP SEQUENCE stage_boot",
        "CREATE TYPE pg_temp.stage_boot AS (boot_id bigint)",
    ],
)
def test_what_is_planted_for_a_staging_table_is_refused(agent: psycopg.Connection, planted: str) -> None:
    agent.execute(planted.encode())
    with pytest.raises(DENIED, match="not a staging table"):
        agent.execute("SELECT perftrack.stage()")
    with pytest.raises(DENIED, match="not a staging table"):
        agent.execute("SELECT perftrack.take(%s, 0, '{}', '{}')", (uuid.uuid4(),))


def test_what_is_planted_before_the_systems_own_is_not_used(agent: psycopg.Connection) -> None:
    for planted in (
        "CREATE TEMP TABLE pg_class (relname text)",
        "CREATE TEMP VIEW pg_roles AS SELECT 10::oid AS oid, 'web2'::name AS rolname",
        "CREATE TEMP TABLE source (uuid uuid, role text)",
        "CREATE DOMAIN pg_temp.uuid AS text",
        "CREATE DOMAIN pg_temp.bigint AS text CHECK (false)",
        "CREATE FUNCTION pg_temp.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT 1/0; SELECT now()'",
        "CREATE FUNCTION pg_temp.format(text, text, text) RETURNS text LANGUAGE sql AS 'SELECT 1/0::text'",
        "CREATE FUNCTION pg_temp.pg_my_temp_schema() RETURNS oid LANGUAGE sql AS 'SELECT 11::oid'",
        "SET search_path = pg_temp, public",
    ):
        try:
            agent.execute(planted.encode())
        except psycopg.Error:
            assert "FUNCTION" in planted  # some have no body that PostgreSQL takes
    mine = uuid.uuid4()
    with agent.transaction():
        opened = agent.execute("SELECT * FROM perftrack.open_source(%s, NULL, 'h', '1', now(), NULL, NULL)", (mine,))
        assert opened.fetchone()[0] == 0
        assert len(agent.execute("SELECT * FROM perftrack.stage()").fetchall()) == len(STAGES)
        assert agent.execute("SELECT perftrack.take(%s, 0, '{}', '{}')", (mine,)).fetchone() == (0,)


def test_calls_out_of_order_do_nothing(centre: Centre, agent: psycopg.Connection) -> None:
    mine = uuid.uuid4()
    sample = (
        "INSERT INTO pg_temp.stage_system_sample (taken_at, taken_at_local, sample_id, boot_id, fingerprint)"
        " VALUES (now(), now(), %s, 1, gen_random_uuid())"
    )
    of_process = (
        "INSERT INTO pg_temp.stage_process_sample (taken_at, sample_id, process_id, filter_id)"
        " VALUES (now(), %s, 1, 1)"
    )

    def refused(statement: str, number: int, position: int, match: str) -> None:
        agent.execute("SAVEPOINT here")
        agent.execute(statement, (number,))
        with pytest.raises(psycopg.Error, match=match):
            agent.execute(take, (mine, position))
        agent.execute("ROLLBACK TO here")

    take = "SELECT perftrack.take(%s, %s, '{}', '{}')"
    with pytest.raises(DENIED):
        agent.execute(take, (mine, 0))  # nothing is staged
    agent.execute("SELECT perftrack.stage()")
    with pytest.raises(DENIED):
        agent.execute(take, (mine, 0))  # no such source
    agent.execute("SELECT * FROM perftrack.open_source(%s, NULL, 'h', '1', now(), NULL, NULL)", (mine,))
    with agent.transaction():
        agent.execute("SELECT perftrack.stage()")
        agent.execute("SELECT perftrack.stage()")
        agent.execute(sample, (5,))
        assert agent.execute(take, (mine, 0)).fetchone() == (5,)
        assert agent.execute(take, (mine, 5)).fetchone() == (5,)  # they are taken
        refused(sample, 4, 5, "came again")
        refused(sample, 6, 4, "position")
        refused(of_process, 6, 5, "no sample")
    found = (
        "SELECT sample_id FROM perftrack.system_sample JOIN perftrack.source ON id = source_id WHERE role = 'web2'"
    )
    assert centre.query(found) == [5]


HONEST = {
    "boot": {"boot_id": "1", "host": "'evil'", "key": "'k'", "booted_at": "now()"},
    "name_filter": {"filter_id": "1", "text": "''", "rank": "0"},
    "process": {"process_id": "1", "boot_id": "1", "pid": "1", "name": "'java'", "started_at": "now()"},
    "cgroup": {"cgroup_id": "1", "boot_id": "1", "path": "'/a'", "inode": "1", "unit": "'a'"},
    "recorder": {"recorder_id": "1", "username": "'root'", "selection": "'--all'"},
    "system_sample": {
        "sample_id": "1",
        "boot_id": "1",
        "taken_at": "now() - interval '2 hours'",
        "taken_at_local": "now()",
        "fingerprint": "gen_random_uuid()",
        "seconds": "60",
        "uptime_seconds": "70",
        "cpu_ms": "5",
    },
    "process_sample": {
        "sample_id": "1",
        "process_id": "1",
        "filter_id": "1",
        "taken_at": "now() - interval '2 hours'",
        "seconds": "60",
        "cpu_ms": "5",
    },
    "cgroup_sample": {"sample_id": "1", "cgroup_id": "1", "taken_at": "now() - interval '2 hours'", "cpu_ms": "5"},
}


def told(agent: psycopg.Connection, changed: dict[str, str]) -> None:
    """Ship a sample as HONEST but for *changed*, of which a key is a column, or the table and it."""
    mine = uuid.uuid4()
    with agent.transaction():
        agent.execute("SELECT * FROM perftrack.open_source(%s, NULL, 'evil', '1', now(), NULL, NULL)", (mine,))
        agent.execute("SELECT perftrack.stage()")
        for table, values in HONEST.items():
            row = values | {
                name.rpartition(".")[2]: value
                for name, value in changed.items()
                if name.startswith(f"{table}.") or name in values
            }
            listed, shown = ", ".join(row), ", ".join(row.values())
            agent.execute(f"INSERT INTO pg_temp.stage_{table} ({listed}) SELECT {shown}".encode())
        agent.execute("SELECT perftrack.take(%s, 0, '{}', '{}')", (mine,))


@pytest.mark.parametrize(
    "changed",
    [
        *(
            {name: value}
            for name, values in (
                ("taken_at", ("'-infinity'::timestamptz", "'infinity'::timestamptz", "'4000-01-01 BC'::timestamptz")),
                ("taken_at", ("NULL", "'9999-06-01'::timestamptz", "'1969-06-01'::timestamptz")),
                ("sample_id", ("0", "-1", "9223372036854775807")),
                ("seconds", ("1e308", "'NaN'", "'Infinity'", "-1e300")),
                ("cpu_ms", ("-1", "9223372036854775807")),
            )
            for value in values
        ),
        {"boot.host": "NULL"},
        {"boot.booted_at": "'infinity'"},
        {"process.name": "NULL"},
        {"process.pid": "NULL"},
        {"process.boot_id": "NULL"},
        {"process.started_at": "'-infinity'"},
        {"cgroup.path": "NULL"},
        {"cgroup.inode": "NULL"},
        {"cgroup.unit": "NULL"},
        {"cgroup.latest_taken_at": "'infinity'"},
        {"name_filter.text": "NULL"},
        {"recorder.selection": "NULL"},
        {"system_sample.taken_at_local": "NULL"},
        {"system_sample.taken_at_local": "'infinity'"},
        {"system_sample.uptime_seconds": "'NaN'"},
        {"system_sample.cpu_percent_max": "'Infinity'"},
        {"system_sample.disk_read_bytes": "9223372036854775807"},
        {"process_sample.filter_id": "NULL"},
        {"process_sample.samples": "-5"},
        {"cgroup_sample.seconds": "'NaN'"},
    ],
    ids=lambda changed: " ".join(f"{name} {value}" for name, value in changed.items()),
)
def test_no_value_stops_the_owners_commands(
    centre: Centre, agent: psycopg.Connection, changed: dict[str, str]
) -> None:
    before = everything(centre)
    with pytest.raises((psycopg.errors.DataException, psycopg.errors.NotNullViolation)) as refused:
        told(agent, changed)
    assert str(refused.value).partition("\n")[0].startswith(("a value of ", "null value in column "))
    assert everything(centre) == before


@pytest.mark.slow
def test_the_owners_commands_work_whatever_was_refused(
    centre: Centre, agent: psycopg.Connection, perftrack: Run
) -> None:
    """And with the least and the most that is taken, and what of imported data is not known."""
    extremes = ({}, {"taken_at": "'1970-01-01 00:00:00+00'::timestamptz"}, {"seconds": "1e9", "cpu_ms": "1 << 30"})
    extremes += (
        {"taken_at": "'9999-01-01 00:00:00+00'::timestamptz"},
        {"sample_id": f"{1 << 40}", "cpu_ms": f"{1 << 53}::bigint"},
        {"boot.key": "NULL", "boot.booted_at": "NULL", "process.started_at": "NULL", "uptime_seconds": "NULL"},
        {"seconds": "NULL", "cpu_ms": "NULL"},
        {"taken_at": "'-infinity'::timestamptz"},
        {"process.name": "NULL"},
    )
    refused = 0
    for changed in extremes:
        try:
            told(agent, changed)
        except psycopg.Error:
            refused += 1
    assert refused == 2
    owner = centre.url("owner")
    for command in ("status", "top", "report", "upkeep"):
        perftrack("fleet", command, owner)
    for group in ("unit", "name", "process"):
        perftrack("fleet", "top", owner, "--group", group, "--since", "30d")


def test_a_fork_of_anothers_source_tells_nothing_of_it(
    centre: Centre, agent: psycopg.Connection, shipped: uuid.UUID
) -> None:
    """Whoever guesses the key of a boot and a process does not see from a row that is made less that it is there."""
    boot, pid, ticks = centre.query(
        "SELECT key, pid, started_ticks FROM perftrack.boot JOIN perftrack.process USING (source_id, boot_id)"
        " JOIN perftrack.process_sample USING (source_id, process_id) WHERE cpu_ms > 0 LIMIT 1"
    )[0]
    mine = uuid.uuid4()
    rows = {
        "boot (boot_id, host, key)": f"1, 'evil', '{boot}'",
        "process (process_id, boot_id, pid, name, started_ticks)": f"1, 1, {pid}, 'java', {ticks}",
        "system_sample (taken_at, taken_at_local, sample_id, boot_id, fingerprint, uptime_seconds, seconds)": (
            "now(), now(), 1, 1, gen_random_uuid(), 99999, 99999"
        ),
        "process_sample (taken_at, sample_id, process_id, filter_id, seconds, cpu_ms)": "now(), 1, 1, 1, 99999, 7",
    }
    with agent.transaction():
        opening = "SELECT * FROM perftrack.open_source(%s, NULL, 'evil', '1', now(), %s, 0)"
        agent.execute(opening, (mine, shipped))
        agent.execute("SELECT perftrack.stage()")
        for table, values in rows.items():
            agent.execute(f"INSERT INTO pg_temp.stage_{table} VALUES ({values})".encode())
        agent.execute("SELECT perftrack.take(%s, 0, '{}', '{}')", (mine,))
        updated = "SELECT sum(n_tup_upd) FROM pg_stat_xact_user_tables WHERE relname LIKE 'stage%'"
        assert agent.execute(updated).fetchone() == (0,)
    own = "SELECT cpu_ms FROM perftrack.process_sample JOIN perftrack.source ON id = source_id WHERE role = 'web2'"
    assert centre.query(own) == [7]


def test_a_role_that_may_do_more_is_no_agent(centre: Centre) -> None:
    for name in ("owner", "postgres"):
        with pytest.raises(PerftrackError, match="may do more"):
            agents.add(centre.url("owner"), name)


def test_a_password_in_the_address_is_refused_and_not_repeated(path: str, connection: sqlite3.Connection) -> None:
    for url in ("postgresql://web1:secret@/fleet", "host=/tmp password=secret", "postgresql://web1:secret@["):
        with pytest.raises(UsageError) as refused:
            ship(path, url)
        assert "secret" not in str(refused.value)
