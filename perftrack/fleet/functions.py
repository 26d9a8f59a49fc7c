"""The functions that an agent's role may execute, and nothing else: SQL, made from the tables of the centre.

They run as the owner of the schema. Every name in them is in full, the search path holds no folder of the caller
before the system's, and what a caller has put into its temporary schema is not taken for a staging table. Whose rows
they are is told by session_user, which no caller can change.
"""

from __future__ import annotations

from perftrack.fleet.connecting import FORMAT
from perftrack.fleet.staging import DEFINER, IS_OWN, stage
from perftrack.fleet.taking import take

SIGNATURES = {
    "histories": "uuid",
    "last_common": "uuid, bigint[], uuid[]",
    "open_source": "uuid, text, text, text, timestamptz, uuid, bigint",
    "stage": "",
    "take": "uuid, bigint, bigint[], double precision[]",
}
_HISTORIES = f"""
CREATE OR REPLACE FUNCTION perftrack.histories(_uuid uuid)
RETURNS TABLE (uuid uuid, "position" bigint, fork_position bigint, is_own boolean) {DEFINER} STABLE AS $function$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  WITH RECURSIVE history AS (
    SELECT source.* FROM perftrack.source WHERE source.uuid = _uuid
    UNION ALL
    SELECT source.* FROM history JOIN perftrack.source ON source.forked_from = history.id)
  SELECT history.uuid, CASE WHEN history.{IS_OWN} THEN history.position END,
    CASE WHEN history.{IS_OWN} THEN coalesce(history.fork_position, 0) END, history.{IS_OWN}
  FROM history WHERE history.{IS_OWN} OR history.uuid = _uuid;
END $function$
"""
# Whoever has the fingerprint of a sample has the sample; so a copy that ships under another role may ask too.
_LAST_COMMON = f"""
CREATE OR REPLACE FUNCTION perftrack.last_common(_uuid uuid, _samples bigint[], _fingerprints uuid[])
RETURNS bigint {DEFINER} STABLE AS $function$
DECLARE
  own perftrack.source;
  upto bigint;
  found_id bigint;
BEGIN
  SELECT * INTO own FROM perftrack.source WHERE source.uuid = _uuid;
  upto := own.position;
  WHILE own.id IS NOT NULL LOOP
    SELECT max(asked.sample_id) INTO found_id
    FROM unnest(_samples, _fingerprints) AS asked (sample_id, fingerprint)
      JOIN perftrack.system_sample AS held
        ON held.sample_id = asked.sample_id AND held.fingerprint = asked.fingerprint
    WHERE held.source_id = own.id AND held.sample_id <= upto;
    IF own.position <= upto AND _fingerprints[array_position(_samples, own.position)] = own.fingerprint THEN
      found_id := own.position;
    END IF;
    IF found_id IS NOT NULL THEN
      RETURN found_id;
    END IF;
    upto := least(upto, own.fork_position);
    SELECT * INTO own FROM perftrack.source WHERE source.id = own.forked_from;
  END LOOP;
  RETURN NULL;
END $function$
"""
_OPEN_SOURCE = f"""
CREATE OR REPLACE FUNCTION perftrack.open_source(
  _uuid uuid, _machine text, _host text, _version text, _sent_at timestamptz, _forked_from uuid,
  _fork_position bigint)
RETURNS TABLE ("position" bigint, format integer) {DEFINER} AS $function$
#variable_conflict use_column
DECLARE
  own perftrack.source;
BEGIN
  IF NOT EXISTS (SELECT 1 FROM perftrack.source WHERE source.uuid = _uuid) THEN
    INSERT INTO perftrack.source (uuid, role, position, forked_from, fork_position)
    SELECT _uuid, session_user::text, coalesce(_fork_position, 0),
      (SELECT source.id FROM perftrack.source WHERE source.uuid = _forked_from), _fork_position
    ON CONFLICT (uuid) DO NOTHING;
  END IF;
  SELECT * INTO own FROM perftrack.source WHERE source.uuid = _uuid;
  IF own.role <> session_user::text THEN
    RAISE EXCEPTION 'source % belongs to another role', _uuid USING ERRCODE = 'insufficient_privilege';
  END IF;
  SELECT * INTO own FROM perftrack.source WHERE source.id = own.id FOR UPDATE NOWAIT;
  UPDATE perftrack.source SET machine = left(_machine, 255), host = left(_host, 255), version = left(_version, 40),
    seen_at = clock_timestamp(),
    skew_seconds = greatest(-1e9, least(1e9, extract(epoch FROM clock_timestamp() - _sent_at)))
  WHERE source.id = own.id;
  RETURN QUERY SELECT own.position, {FORMAT};
END $function$
"""


def definitions() -> list[str]:
    """Return the statements that make the functions, or make them anew; nobody may execute them yet."""
    made = [_HISTORIES, _LAST_COMMON, _OPEN_SOURCE, stage(), take()]
    return made + [f"REVOKE ALL ON FUNCTION perftrack.{name}({of}) FROM PUBLIC" for name, of in SIGNATURES.items()]


def grants(role: str) -> list[str]:
    """Return the statements that let a *role*, a quoted name, ship."""
    return [f"GRANT USAGE ON SCHEMA perftrack TO {role}"] + [
        f"GRANT EXECUTE ON FUNCTION perftrack.{name}({of}) TO {role}" for name, of in SIGNATURES.items()
    ]
