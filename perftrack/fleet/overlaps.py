"""What a restored machine used while samples were taken that its database does not have any more, but the centre has.

In the same boot, its first intervals begin at the last sample that is common. What those samples show already is
taken off, so that it counts once. They are of the sources that it is forked from, from where it left them, and of the
other forks of these, as far as they are of the same role: nobody learns what another's samples show. SQL for `take`,
from the tables of the centre.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Table

from perftrack.fleet.centre import CGROUP, CGROUP_SAMPLE, PROCESS, PROCESS_SAMPLE, SYSTEM_SAMPLE, type_of
from perftrack.storage.intervals import counters
from perftrack.storage.models import Base, CgroupSample, ProcessSample, SystemSample

# Times since boot are in milliseconds: what is less is none.
_LEAST_SECONDS = 0.001
# What `take` declares for this.
DECLARED = """
  _others bigint[];
  _left_at bigint[];
  _boot_id bigint;
  _key text;
  _begin double precision;
  _first double precision;
  _until double precision;
  _other bigint;
  _other_boot bigint;
  _lost timestamptz[];"""
# All of its tree but itself, each with the last sample that is common: of one that it does not descend from, none is.
_TREE = """
    WITH RECURSIVE chain AS (
      SELECT source.id, source.forked_from, source.fork_position, ~(1::bigint << 63) AS left_at
      FROM perftrack.source WHERE source.id = own.id
      UNION ALL
      SELECT source.id, source.forked_from, source.fork_position, least(chain.left_at, chain.fork_position)
      FROM chain JOIN perftrack.source ON source.id = chain.forked_from),
    tree AS (
      SELECT chain.id FROM chain WHERE chain.forked_from IS NULL
      UNION ALL
      SELECT source.id FROM tree JOIN perftrack.source ON source.forked_from = tree.id)
    SELECT coalesce(array_agg(source.id), '{}'), coalesce(array_agg(coalesce(chain.left_at, 0)), '{}')
    INTO _others, _left_at
    FROM tree JOIN perftrack.source ON source.id = tree.id LEFT JOIN chain ON chain.id = tree.id
    WHERE source.id <> own.id AND source.role = own.role;"""


class _Kind:
    """A table of samples. *dimension*: what its rows are of, by *identity*; empty: the machine."""

    def __init__(self, model: type[Base], table: Table, dimension: str = "", *identity: Column[Any]) -> None:
        names = {"seconds", "cpu_ms", *(each.name for each in counters(model))}
        self._grown = [each.name for each in table.columns if each.name in names]
        self._table, self._dimension, self._identity = table, dimension, identity

    def made(self) -> str:
        """Return the statement that makes the table of what was lost."""
        kinds = {each.name: type_of(each) for each in [*self._table.columns, *self._identity]}
        told = "".join(f", {name} {kinds[name]}" for name in [*self._grown, *(each.name for each in self._identity)])
        return f"""
      CREATE TEMPORARY TABLE pg_temp.lost_{self._table.name} (
        boot_id bigint, first_seconds double precision, uptime_seconds double precision{told}) ON COMMIT DROP;"""

    def brought(self) -> str:
        """Return the statement that brings it, of one source."""
        of = (
            f"JOIN perftrack.{self._dimension} AS of USING (source_id, {self._dimension}_id)"
            if self._dimension
            else ""
        )
        shown = ", ".join([f"sample.{name}" for name in self._grown] + [f"of.{each.name}" for each in self._identity])
        return f"""
        INSERT INTO pg_temp.lost_{self._table.name}
        SELECT _boot_id, _first, its.uptime_seconds, {shown}
        FROM perftrack.{self._table.name} AS sample {of}
          JOIN perftrack.system_sample AS its USING (source_id, taken_at, sample_id)
        WHERE sample.source_id = _other AND sample.taken_at = ANY (_lost) AND its.boot_id = _other_boot
          AND sample.sample_id > _left_at[array_position(_others, _other)];"""

    def taken_off(self) -> str:
        """Return the statements that take it off what is staged."""
        keys = ["sample_id", f"{self._dimension}_id"] if self._dimension else ["sample_id"]
        key = ", ".join(f"own_row.{name}" for name in keys)
        of = f"JOIN pg_temp.stage_{self._dimension} AS of USING ({self._dimension}_id)" if self._dimension else ""
        same = "".join(
            f" AND gone.{each.name} {'IS NOT DISTINCT FROM' if each.nullable else '='} of.{each.name}"
            for each in self._identity
        )
        return f"""
      UPDATE pg_temp.stage_{self._table.name} AS own_row
      SET {", ".join(f"{name} = {_less(name)}" for name in self._grown)}
      FROM (
        SELECT {key}, {", ".join(f"sum(gone.{name}) AS {name}" for name in self._grown)}
        FROM pg_temp.stage_{self._table.name} AS own_row {of}
          JOIN pg_temp.stage_system_sample AS at USING (sample_id)
          JOIN pg_temp.lost_{self._table.name} AS gone
            ON gone.boot_id = at.boot_id{same}
              AND gone.uptime_seconds <= at.uptime_seconds
              AND gone.uptime_seconds > at.uptime_seconds - own_row.seconds + {_LEAST_SECONDS}
              AND gone.first_seconds > at.uptime_seconds - own_row.seconds + {_LEAST_SECONDS}
        GROUP BY {key}) AS shown
      WHERE {" AND ".join(f"shown.{name} = own_row.{name}" for name in keys)};
      DROP TABLE pg_temp.lost_{self._table.name};"""


def _less(name: str) -> str:
    """Return what is left; what is not known stays so."""
    return f"CASE WHEN own_row.{name} IS NOT NULL THEN greatest(0, own_row.{name} - coalesce(shown.{name}, 0)) END"


_KINDS = [
    _Kind(SystemSample, SYSTEM_SAMPLE),
    _Kind(ProcessSample, PROCESS_SAMPLE, "process", PROCESS.c.pid, PROCESS.c.started_ticks),
    _Kind(CgroupSample, CGROUP_SAMPLE, "cgroup", CGROUP.c.path, CGROUP.c.inode),
]


def taken_off() -> str:
    """Return the statements of `take` for what is staged; it has declared DECLARED and own.

    Only of intervals that begin before the first sample of its own in a boot, and so mostly nothing is looked for.
    """
    seconds = "\n          UNION ALL ".join(
        f"SELECT row.sample_id, row.seconds FROM pg_temp.stage_{name} AS row"
        for name in (SYSTEM_SAMPLE.name, PROCESS_SAMPLE.name, CGROUP_SAMPLE.name)
    )
    made, brought, less = (
        "".join(of(kind) for kind in _KINDS) for of in (_Kind.made, _Kind.brought, _Kind.taken_off)
    )
    return f"""
  IF own.forked_from IS NOT NULL THEN
    FOR _boot_id, _key, _begin, _first, _until IN
      SELECT boot.boot_id, boot.key, min(at.uptime_seconds - row.seconds), min(at.uptime_seconds),
        max(at.uptime_seconds)
      FROM pg_temp.stage_boot AS boot
        JOIN pg_temp.stage_system_sample AS at ON at.boot_id = boot.boot_id
        JOIN (
          {seconds}) AS row ON row.sample_id = at.sample_id
      WHERE boot.key IS NOT NULL
      GROUP BY boot.boot_id, boot.key
    LOOP
      SELECT least(_first, min(sample.uptime_seconds)) INTO _first
      FROM perftrack.system_sample AS sample WHERE sample.source_id = own.id AND sample.boot_id = _boot_id;
      CONTINUE WHEN _begin IS NULL OR _begin >= _first - {_LEAST_SECONDS};
      IF _others IS NULL THEN{_TREE}{made}
      END IF;
      FOR _other, _other_boot IN
        SELECT boot.source_id, boot.boot_id FROM perftrack.boot AS boot
        WHERE boot.source_id = ANY (_others) AND boot.key = _key
      LOOP
        SELECT array_agg(sample.taken_at) INTO _lost FROM perftrack.system_sample AS sample
        WHERE sample.source_id = _other AND sample.boot_id = _other_boot
          AND sample.uptime_seconds > _begin AND sample.uptime_seconds <= _until
          AND sample.sample_id > _left_at[array_position(_others, _other)];
        CONTINUE WHEN _lost IS NULL;{brought}
      END LOOP;
    END LOOP;
    IF _others IS NOT NULL THEN{less}
    END IF;
  END IF;"""
