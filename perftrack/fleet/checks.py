"""What `take` refuses, values that would break the owner's commands: SQL, from the centre's tables.

What must not be NULL, the staging tables themselves refuse.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, DateTime, Double, Table
from sqlalchemy.dialects.postgresql import REAL, TIMESTAMP

from perftrack.fleet.centre import CGROUP_SAMPLE, DIMENSIONS, PROCESS_SAMPLE, SAMPLES, SYSTEM_SAMPLE, staged
from perftrack.storage.intervals import counters
from perftrack.storage.models import Base, CgroupSample, ProcessSample, SystemSample

# A clock of 1970 is of use; by it, what began before, or is told in local time, can be of a time before.
_TAKEN = "BETWEEN '1970-01-01 00:00:00+00' AND '9999-01-01 00:00:00+00'"
_OTHER_TIMES = "BETWEEN '1900-01-01' AND '9999-01-02'"
# No real machine comes near: 31 years; 9 petabytes in an interval; a trillion samples. And sums do not overflow.
_LIMITS = {"seconds": "BETWEEN -1e9 AND 1e9", "sample_id": f"BETWEEN 1 AND {1 << 40}", "taken_at": _TAKEN}
_NUMBERS, _GROWTH = "BETWEEN -1e18 AND 1e18", f"BETWEEN 0 AND {1 << 53}"
_MODELS: dict[str, type[Base]] = {
    SYSTEM_SAMPLE.name: SystemSample,
    PROCESS_SAMPLE.name: ProcessSample,
    CGROUP_SAMPLE.name: CgroupSample,
}


def _limit(table: Table, column: Column[object]) -> str | None:
    """Return the condition for a value of *column*; None: it may be any."""
    if isinstance(column.type, (DateTime, TIMESTAMP)):
        return _LIMITS.get(column.name, _OTHER_TIMES)
    if isinstance(column.type, (Double, REAL)):
        return _LIMITS.get(column.name, _NUMBERS)
    model = _MODELS.get(table.name)
    if model is not None and isinstance(column.type, BigInteger):
        grown = {"cpu_ms", "all_cpu_ms", "samples", *(each.name for each in counters(model))}
        return _GROWTH if column.name in grown else _LIMITS.get(column.name)
    return None


def refused() -> str:
    """Return the statements of `take` that refuse values that cannot be; it declares _name."""
    statements = []
    for table in [*DIMENSIONS, *SAMPLES]:
        limits = {each.name: _limit(table, each) for each in staged(table)}
        # infinite instants and NaN are beyond each limit
        wrong = [
            f"WHEN {name} NOT {limit} THEN '{table.name}.{name}'"
            for name, limit in limits.items()
            if limit is not None
        ]
        if wrong:
            cases = "\n      ".join(wrong)
            statements.append(f"""
  SELECT told.wrong INTO _name FROM (
    SELECT CASE
      {cases} END AS wrong
    FROM pg_temp.stage_{table.name}) AS told
  WHERE told.wrong IS NOT NULL LIMIT 1;
  IF _name IS NOT NULL THEN
    RAISE EXCEPTION 'a value of % cannot be', _name USING ERRCODE = 'data_exception';
  END IF;""")
    return "".join(statements)
