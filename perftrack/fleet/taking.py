"""The function that moves what an agent has staged into the tables, and the position with it: SQL, from the tables.

What a late sample changes is told anew. Where its day is removed already, it stays as it was, and the late sample is
left out, as an interval that is there has what it used. Where Citus keeps the day as columns, it is made one of rows
again, if rows of the same source are in it: of the last 60 days, for a role once a day at most; else as above.
"""

from __future__ import annotations

from sqlalchemy import Table

from perftrack.fleet import checks
from perftrack.fleet.centre import CGROUP_SAMPLE, CHANGING, DIMENSIONS, PROCESS_SAMPLE, SAMPLES, staged
from perftrack.fleet.overlaps import DECLARED, taken_off
from perftrack.fleet.staging import DEFINER, IS_OWN, IS_PLAIN

# A late sample changes days that are columns already no further back, and for one role no more often.
_UNPACKED_MAX, _UNPACKED_EVERY = "60 days", "1 day"
_COLUMNS = f"""FROM pg_catalog.pg_inherits JOIN pg_catalog.pg_class AS child ON child.oid = inhrelid
      JOIN pg_catalog.pg_am ON pg_am.oid = child.relam
    WHERE inhparent IN ('perftrack.{PROCESS_SAMPLE.name}'::regclass, 'perftrack.{CGROUP_SAMPLE.name}'::regclass)
      AND amname = 'columnar' AND child.relname ~ '_[0-9]{{8}}$'"""
_DAY = "to_char(each AT TIME ZONE 'UTC', 'YYYYMMDD')"
# What is told anew of it, and what came late before that: an interval that stays as it was has it too.
_IS_SETTLED = """sample.taken_at < _settled AND (
      sample.sample_id <= own.position
      OR sample.uptime_seconds < _settled_until[array_position(_boots_settled, sample.boot_id)])"""


def _names(table: Table) -> str:
    return ", ".join(f'"{each.name}"' for each in staged(table))


def _replaced(table: Table) -> str:
    """Return the statements that remove the rows of *table* of the samples _gone, which were taken at _instants.

    Rows of a day that Citus keeps as columns cannot be removed, nor may a DELETE be of that day: where there are any,
    it is made one of rows again.
    """
    return f"""
    _told := _instants;
    IF _columns_until IS NOT NULL THEN
      FOR _name IN
        SELECT child.relname {_COLUMNS} AND inhparent = 'perftrack.{table.name}'::regclass
          AND right(child.relname, 8) IN (SELECT {_DAY} FROM unnest(_instants) AS told (each))
      LOOP
        EXECUTE format(
          'SELECT EXISTS (SELECT 1 FROM perftrack.%I'
          ' WHERE source_id = $1 AND taken_at = ANY ($2) AND sample_id = ANY ($3))', _name)
        INTO _has_rows USING own.id, _instants, _gone;
        IF _has_rows THEN
          EXECUTE format('SELECT pg_catalog.alter_table_set_access_method(%L, ''heap'')', 'perftrack.' || _name);
          UPDATE perftrack.source SET unpacked_at = clock_timestamp() WHERE source.id = own.id;
        ELSE
          _told := ARRAY(SELECT each FROM unnest(_told) AS told (each) WHERE {_DAY} <> right(_name, 8));
        END IF;
      END LOOP;
    END IF;
    DELETE FROM perftrack.{table.name}
    WHERE source_id = own.id AND taken_at = ANY (_told) AND sample_id = ANY (_gone);"""


def _told_before() -> str:
    """Return the statements that leave out, of days that are removed, hours that another source of the role has told.

    A machine that was restored to before these days finds no sample there that it has in common with the centre.
    """
    place = "boot.key || ' ' || date_trunc('hour', {}, 'UTC')::text"
    staged = place.format("sample.taken_at")
    deleted = "".join(
        f"""
    DELETE FROM pg_temp.stage_{table.name} AS row
    USING pg_temp.stage_system_sample AS sample JOIN pg_temp.stage_boot AS boot USING (boot_id)
    WHERE sample.sample_id = row.sample_id AND {staged} = ANY (_told_before);"""
        for table in (PROCESS_SAMPLE, CGROUP_SAMPLE)
    )
    return f"""
  IF own.forked_from IS NOT NULL THEN
    SELECT coalesce(array_agg({place.format("told.hour")}), '{{}}') INTO _told_before
    FROM perftrack.system_hour AS told
      JOIN perftrack.boot AS boot ON (boot.source_id, boot.boot_id) = (told.source_id, told.boot_id)
    WHERE told.source_id = ANY (ARRAY (
        SELECT source.id FROM perftrack.source WHERE source.{IS_OWN} AND source.id <> own.id))
      AND told.hour < (SELECT max(kept.since) FROM perftrack.kept)
      AND told.hour BETWEEN (SELECT min(taken_at) - interval '1 hour' FROM pg_temp.stage_system_sample)
        AND (SELECT max(taken_at) FROM pg_temp.stage_system_sample);{deleted}
    DELETE FROM pg_temp.stage_system_sample AS sample USING pg_temp.stage_boot AS boot
    WHERE boot.boot_id = sample.boot_id AND {staged} = ANY (_told_before);
  END IF;"""


def take() -> str:
    """Return the statement that makes the function."""
    names = [table.name for table in [*DIMENSIONS, *SAMPLES]]
    checked = ", ".join(f"'{name}'" for name in names)
    moves = []
    for table in DIMENSIONS:
        key = [each.name for each in table.primary_key.columns][1]
        conflict = "NOTHING"
        if changing := CHANGING.get(table.name):
            assigned = ", ".join(f"{name} = excluded.{name}" for name in changing)
            differs = " OR ".join(f"{table.name}.{name} IS DISTINCT FROM excluded.{name}" for name in changing)
            conflict = f"UPDATE SET {assigned} WHERE {differs}"
        moves.append(f"""
  INSERT INTO perftrack.{table.name} (source_id, {_names(table)})
  SELECT own.id, {_names(table)} FROM pg_temp.stage_{table.name}
  ON CONFLICT (source_id, {key}) DO {conflict};""")
    moves += [
        f"""
  INSERT INTO perftrack.{table.name} (source_id, {_names(table)})
  SELECT own.id, {_names(table)} FROM pg_temp.stage_{table.name};"""
        for table in SAMPLES
    ]
    replaced = "".join(map(_replaced, (PROCESS_SAMPLE, CGROUP_SAMPLE)))
    settled = "".join(
        f"""
    DELETE FROM pg_temp.stage_{table.name} AS row USING pg_temp.stage_system_sample AS sample
    WHERE sample.sample_id = row.sample_id AND {_IS_SETTLED};"""
        for table in (PROCESS_SAMPLE, CGROUP_SAMPLE)
    )
    settled += f"""
    DELETE FROM pg_temp.stage_system_sample AS sample WHERE {_IS_SETTLED};"""
    belonging = "\n    UNION ALL ".join(
        f"SELECT 1 FROM pg_temp.stage_{table.name} AS row WHERE NOT EXISTS (SELECT 1 FROM pg_temp.stage_system_sample"
        " AS sample WHERE sample.sample_id = row.sample_id AND sample.taken_at = row.taken_at)"
        for table in (PROCESS_SAMPLE, CGROUP_SAMPLE)
    )
    emptied = "\n".join(f"  DELETE FROM pg_temp.stage_{name};" for name in names)
    return f"""
CREATE OR REPLACE FUNCTION perftrack.take(
  _uuid uuid, _position bigint, _boots bigint[], _after_uptime_seconds double precision[])
RETURNS bigint {DEFINER} AS $function$
DECLARE
  own perftrack.source;
  _name text;
  _number integer;
  _newest record;
  _unpacked boolean;
  _has_rows boolean;
  _columns_until timestamptz;
  _settled timestamptz;
  _boots_settled bigint[];
  _settled_until double precision[];
  _gone bigint[];
  _instants timestamptz[];
  _told timestamptz[];
  _told_before text[];
  _all_instants timestamptz[] := '{{}}';
  {DECLARED.strip()}
BEGIN
  FOREACH _name IN ARRAY ARRAY[{checked}] LOOP
    IF NOT EXISTS ({IS_PLAIN}) THEN
      RAISE EXCEPTION 'stage_% is not a staging table of the centre', _name USING ERRCODE = 'insufficient_privilege';
    END IF;
  END LOOP;
  SELECT * INTO own FROM perftrack.source WHERE source.uuid = _uuid AND source.{IS_OWN} FOR UPDATE NOWAIT;
  IF own.id IS NULL THEN
    RAISE EXCEPTION 'source % belongs to another role, or to none', _uuid USING ERRCODE = 'insufficient_privilege';
  END IF;
  IF own.position <> _position THEN
    RAISE EXCEPTION 'the position is %, not %', own.position, _position USING ERRCODE = 'serialization_failure';
  END IF;
{checks.refused()}
  IF EXISTS (
    SELECT 1 FROM pg_temp.stage_system_sample AS sample
    WHERE sample.sample_id <= own.position AND sample.boot_id <> ALL (_boots))
  THEN
    RAISE EXCEPTION 'a sample that was taken before came again' USING ERRCODE = 'data_exception';
  END IF;
  IF EXISTS (
    {belonging})
  THEN
    RAISE EXCEPTION 'a row of no sample' USING ERRCODE = 'data_exception';
  END IF;
  SELECT sample_id, fingerprint, taken_at INTO _newest FROM pg_temp.stage_system_sample
  ORDER BY sample_id DESC LIMIT 1;
  -- what is told anew of a day that cannot change any more stays as it was
  IF _boots <> '{{}}' THEN
    SELECT max(since) INTO _settled FROM perftrack.kept;
    SELECT max(to_date(right(child.relname, 8), 'YYYYMMDD') + 1)::timestamp AT TIME ZONE 'UTC' INTO _columns_until
    {_COLUMNS};
    SELECT EXISTS (
      SELECT 1 FROM perftrack.source
      WHERE source.{IS_OWN} AND source.unpacked_at > clock_timestamp() - interval '{_UNPACKED_EVERY}')
    INTO _unpacked;
    IF _columns_until IS NOT NULL THEN  -- before any statement that goes to several shards: a day may become rows
      PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true);
    END IF;
    _settled := greatest(_settled, CASE WHEN _unpacked THEN _columns_until
      WHEN _columns_until IS NOT NULL THEN least(_columns_until, clock_timestamp() - interval '{_UNPACKED_MAX}') END);
    SELECT array_agg(told.boot_id), array_agg(told.until) INTO _boots_settled, _settled_until
    FROM (
      SELECT sample.boot_id, max(sample.uptime_seconds) AS until FROM pg_temp.stage_system_sample AS sample
      WHERE sample.sample_id <= own.position AND sample.taken_at < _settled GROUP BY sample.boot_id) AS told;{settled}
  END IF;
{_told_before()}
{taken_off()}
  FOR _number IN 1 .. coalesce(array_length(_boots, 1), 0) LOOP
    WITH gone AS (
      DELETE FROM perftrack.system_sample
      WHERE source_id = own.id AND boot_id = _boots[_number] AND uptime_seconds > _after_uptime_seconds[_number]
        AND taken_at >= coalesce(_settled, '-infinity')
      RETURNING sample_id, taken_at)
    SELECT array_agg(gone.sample_id), array_agg(gone.taken_at) INTO _gone, _instants FROM gone;
    _all_instants := _all_instants || _instants;{replaced}
  END LOOP;
{"".join(moves)}
  INSERT INTO perftrack.open_hour (source_id, hour, changed_at)
  SELECT own.id, changed.hour, clock_timestamp()
  FROM (
    SELECT DISTINCT date_trunc('hour', told.taken_at, 'UTC') AS hour
    FROM (SELECT taken_at FROM pg_temp.stage_system_sample UNION ALL SELECT unnest(_all_instants)) AS told)
    AS changed
  ORDER BY changed.hour
  ON CONFLICT (source_id, hour) DO UPDATE SET changed_at = excluded.changed_at;
  UPDATE perftrack.source SET position = _newest.sample_id, fingerprint = _newest.fingerprint,
    taken_at = _newest.taken_at, received_at = clock_timestamp()
  WHERE source.id = own.id AND _newest.sample_id > own.position;
{emptied}
  RETURN (SELECT source.position FROM perftrack.source WHERE source.id = own.id);
END $function$
"""
