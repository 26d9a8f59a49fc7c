"""Where an agent puts what it ships, and the function that makes it: temporary tables of the definer's own."""

from __future__ import annotations

from perftrack.fleet.centre import DIMENSIONS, SAMPLES, staged, type_of

DEFINER = "LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp"
IS_OWN = "role = session_user::text"
# A staging table is one of the definer's own, in the temporary schema of this session.
IS_PLAIN = """
    SELECT 1 FROM pg_catalog.pg_class AS found
    WHERE found.relnamespace = pg_my_temp_schema() AND found.relname = 'stage_' || _name
      AND found.relkind = 'r' AND found.relpersistence = 't'
      AND found.relowner = (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user)
      AND NOT (found.relhasrules OR found.relhastriggers OR found.relhassubclass OR found.relispartition)
      AND NOT EXISTS (SELECT 1 FROM pg_catalog.pg_inherits WHERE inhrelid = found.oid)"""


def stage() -> str:
    """Return the statement that makes the function."""
    made, told = [], []
    for table in [*DIMENSIONS, *SAMPLES]:
        columns = ", ".join(
            f'"{each.name}" {type_of(each)}{"" if each.nullable else " NOT NULL"}' for each in staged(table)
        )
        made.append(f"    ('{table.name}', '{columns}')")
        listed = ", ".join(f"'{each.name}'" for each in staged(table))
        told.append(f"    ('{table.name}', ARRAY[{listed}])")
    made_rows, told_rows = ",\n".join(made), ",\n".join(told)
    return f"""
CREATE OR REPLACE FUNCTION perftrack.stage()
RETURNS TABLE (name text, columns text[]) {DEFINER} AS $function$
#variable_conflict use_column
DECLARE
  _name text;
  _definition text;
BEGIN
  FOR _name, _definition IN VALUES
{made_rows}
  LOOP
    IF EXISTS (
      SELECT 1 FROM pg_catalog.pg_class WHERE relnamespace = pg_my_temp_schema() AND relname = 'stage_' || _name)
    THEN
      IF NOT EXISTS ({IS_PLAIN}) THEN
        RAISE EXCEPTION 'stage_% is not a staging table of the centre', _name
          USING ERRCODE = 'insufficient_privilege';
      END IF;
      EXECUTE format('DROP TABLE pg_temp.%I', 'stage_' || _name);
    END IF;
    EXECUTE format('CREATE TEMPORARY TABLE pg_temp.%I (%s) ON COMMIT DELETE ROWS', 'stage_' || _name, _definition);
    EXECUTE format('GRANT INSERT ON pg_temp.%I TO %I', 'stage_' || _name, session_user);
  END LOOP;
  RETURN QUERY VALUES
{told_rows};
END $function$
"""
