"""What the children of a process used that have ended, and what it has read and written certainly by itself.

Why: the kernel adds up in a parent what its children used, once it has waited for them; nothing else remains of them.
Older rows: all four columns are NULL, not noted.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from textwrap import dedent

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("DROP VIEW process_log")
    op.execute("DROP VIEW process_interval")
    for column in ("children_user_ms", "children_system_ms", "own_read_bytes", "own_write_bytes"):
        op.add_column("process_sample", sa.Column(column, sa.Integer(), nullable=True))
    op.execute(
        dedent("""
    CREATE VIEW process_log AS SELECT
      process_sample.cpu_percent AS cpu_usage,
      system_sample.taken_at_local AS datetime,
      name_filter.text AS filter,
      process.name AS name,
      process.pid AS pid,
      process_sample.rss_bytes AS rss_memory,
      process_sample.vms_bytes AS vms_memory,
      system_sample.taken_at AS taken_at,
      host.name AS host,
      boot.booted_at AS booted_at,
      system_sample.id AS sample_id,
      process.id AS process_id,
      name_filter.rank AS filter_rank,
      process.started_ticks AS started_ticks,
      process.started_at AS started_at,
      process.ppid AS ppid,
      process.username AS username,
      process.command AS command,
      process_sample.cpu_user_ms AS cpu_user_ms,
      process_sample.cpu_system_ms AS cpu_system_ms,
      process_sample.children_user_ms AS children_user_ms,
      process_sample.children_system_ms AS children_system_ms,
      process_sample.num_threads AS num_threads,
      process_sample.read_bytes AS read_bytes,
      process_sample.write_bytes AS write_bytes,
      process_sample.own_read_bytes AS own_read_bytes,
      process_sample.own_write_bytes AS own_write_bytes,
      process_sample.uss_bytes AS uss_bytes,
      process_sample.pss_bytes AS pss_bytes,
      process_sample.swap_bytes AS swap_bytes
    FROM system_sample
      CROSS JOIN process_sample ON process_sample.sample_id = system_sample.id
      JOIN process ON process.id = process_sample.process_id
      JOIN name_filter ON name_filter.id = process_sample.filter_id
      JOIN boot ON boot.id = system_sample.boot_id
      JOIN host ON host.id = boot.host_id
    """)
    )
    op.execute(
        dedent("""
    CREATE VIEW process_interval AS SELECT
      taken_at,
      datetime,
      host,
      booted_at,
      sample_id,
      process_id,
      pid,
      name,
      username,
      command,
      sample_seconds,
      round(exact_seconds, 3) AS seconds,
      round(CASE WHEN exact_seconds < 0.05 THEN NULL
        WHEN cpu_user_ms + cpu_system_ms <= possible_ms * exact_seconds
        THEN cpu_user_ms + cpu_system_ms
        ELSE max(possible_ms * exact_seconds, cpu_user_ms + cpu_system_ms - inexact_ms)
        END / nullif(exact_seconds, 0) / 10, 2) AS cpu_percent,
      cpu_user_ms + cpu_system_ms AS cpu_ms,
      cpu_user_ms,
      cpu_system_ms,
      children_user_ms,
      children_system_ms,
      read_bytes,
      write_bytes,
      own_read_bytes,
      own_write_bytes,
      rss_bytes,
      vms_bytes,
      num_threads,
      uss_bytes,
      pss_bytes,
      swap_bytes
    FROM (SELECT
      later.taken_at AS taken_at,
      later.taken_at_local AS datetime,
      host.name AS host,
      boot.booted_at AS booted_at,
      later.id AS sample_id,
      process.id AS process_id,
      process.pid AS pid,
      process.name AS name,
      process.username AS username,
      process.command AS command,
      round(later.uptime_seconds - previous.uptime_seconds, 3) AS sample_seconds,
      CASE WHEN own.cpu_user_ms >= coalesce(before.cpu_user_ms, new.counter) THEN own.cpu_user_ms - coalesce(before.cpu_user_ms, new.counter) END AS cpu_user_ms,
      CASE WHEN own.cpu_system_ms >= coalesce(before.cpu_system_ms, new.counter) THEN own.cpu_system_ms - coalesce(before.cpu_system_ms, new.counter) END AS cpu_system_ms,
      CASE WHEN own.children_user_ms >= coalesce(before.children_user_ms, new.counter) THEN own.children_user_ms - coalesce(before.children_user_ms, new.counter) END AS children_user_ms,
      CASE WHEN own.children_system_ms >= coalesce(before.children_system_ms, new.counter) THEN own.children_system_ms - coalesce(before.children_system_ms, new.counter) END AS children_system_ms,
      CASE WHEN own.read_bytes >= coalesce(before.read_bytes, new.counter) THEN own.read_bytes - coalesce(before.read_bytes, new.counter) END AS read_bytes,
      CASE WHEN own.write_bytes >= coalesce(before.write_bytes, new.counter) THEN own.write_bytes - coalesce(before.write_bytes, new.counter) END AS write_bytes,
      nullif(max(
        iif(own.children_user_ms + own.children_system_ms = 0, own.read_bytes, own.own_read_bytes) - coalesce(
        iif(before.children_user_ms + before.children_system_ms = 0, before.read_bytes, before.own_read_bytes),
        new.counter), -1), -1) AS own_read_bytes,
      nullif(max(
        iif(own.children_user_ms + own.children_system_ms = 0, own.write_bytes, own.own_write_bytes) - coalesce(
        iif(before.children_user_ms + before.children_system_ms = 0, before.write_bytes, before.own_write_bytes),
        new.counter), -1), -1) AS own_write_bytes,
      own.rss_bytes AS rss_bytes,
      own.vms_bytes AS vms_bytes,
      own.num_threads AS num_threads,
      own.uss_bytes AS uss_bytes,
      own.pss_bytes AS pss_bytes,
      own.swap_bytes AS swap_bytes,
      later.uptime_seconds - coalesce(earlier.uptime_seconds, new.counter + CASE WHEN process.started_ticks < 100000000000 THEN process.started_ticks / 100.0
        ELSE later.uptime_seconds - (julianday(later.taken_at) - julianday(process.started_at)) * 86400 END) AS exact_seconds,
      1000 * max(coalesce(own.num_threads, 1000000), coalesce(before.num_threads, 1)) AS possible_ms,
      20 + 1000 * (coalesce(later.read_uptime_seconds - later.uptime_seconds, 0) + coalesce(earlier.read_uptime_seconds - earlier.uptime_seconds, 0)) AS inexact_ms
    FROM system_sample AS later
      JOIN boot ON boot.id = later.boot_id
      JOIN host ON host.id = boot.host_id
      LEFT JOIN system_sample AS previous ON previous.id = (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
      LEFT JOIN system_sample AS latest ON latest.id = (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND recorder_id IS later.recorder_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
      -- imported data can have a further row of the same process, for each further string that matched
      CROSS JOIN process_sample AS own ON own.sample_id = later.id
        AND own.filter_id NOT IN (SELECT id FROM name_filter WHERE rank > 0)
      JOIN process ON process.id = own.process_id
      -- its own previous sample is mostly the one before; else the latest that has it, maybe under another name
      LEFT JOIN process_sample AS direct ON direct.sample_id = previous.id AND direct.process_id = own.process_id
      LEFT JOIN process_sample AS before ON (before.sample_id, before.process_id) = (
        SELECT direct.sample_id, direct.process_id WHERE direct.sample_id IS NOT NULL
        UNION ALL SELECT * FROM (
          SELECT seen.sample_id, seen.process_id
          FROM system_sample AS sample CROSS JOIN process_sample AS seen
            ON seen.sample_id = sample.id AND seen.process_id IN (
              SELECT own.process_id UNION ALL
              SELECT id FROM process AS same
              WHERE boot_id = later.boot_id AND pid = process.pid AND started_ticks = process.started_ticks)
          WHERE direct.sample_id IS NULL AND sample.boot_id = later.boot_id
            AND (sample.uptime_seconds, sample.id) < (later.uptime_seconds, later.id)
            AND sample.uptime_seconds >= coalesce(CASE WHEN process.started_ticks < 100000000000 THEN process.started_ticks / 100.0
        ELSE later.uptime_seconds - (julianday(later.taken_at) - julianday(process.started_at)) * 86400 END, 1) - 1
          ORDER BY sample.uptime_seconds DESC, sample.id DESC LIMIT 1))
      LEFT JOIN system_sample AS earlier ON earlier.id = before.sample_id
      -- without one, it counts from its start if it began after the recorder's previous sample had listed processes
      LEFT JOIN (SELECT 0 AS counter) AS new ON before.sample_id IS NULL
        AND CASE WHEN process.started_ticks < 100000000000 THEN process.started_ticks / 100.0
        ELSE later.uptime_seconds - (julianday(later.taken_at) - julianday(process.started_at)) * 86400 END + 0.01 > coalesce(latest.listed_uptime_seconds, latest.uptime_seconds))
    """)
    )


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW process_log")
    op.execute("DROP VIEW process_interval")
    for column in ("own_write_bytes", "own_read_bytes", "children_system_ms", "children_user_ms"):
        op.execute(f"ALTER TABLE process_sample DROP COLUMN {column}")
    op.execute(
        dedent("""
    CREATE VIEW process_log AS SELECT
      process_sample.cpu_percent AS cpu_usage,
      system_sample.taken_at_local AS datetime,
      name_filter.text AS filter,
      process.name AS name,
      process.pid AS pid,
      process_sample.rss_bytes AS rss_memory,
      process_sample.vms_bytes AS vms_memory,
      system_sample.taken_at AS taken_at,
      host.name AS host,
      boot.booted_at AS booted_at,
      system_sample.id AS sample_id,
      process.id AS process_id,
      name_filter.rank AS filter_rank,
      process.started_ticks AS started_ticks,
      process.started_at AS started_at,
      process.ppid AS ppid,
      process.username AS username,
      process.command AS command,
      process_sample.cpu_user_ms AS cpu_user_ms,
      process_sample.cpu_system_ms AS cpu_system_ms,
      process_sample.num_threads AS num_threads,
      process_sample.read_bytes AS read_bytes,
      process_sample.write_bytes AS write_bytes,
      process_sample.uss_bytes AS uss_bytes,
      process_sample.pss_bytes AS pss_bytes,
      process_sample.swap_bytes AS swap_bytes
    FROM system_sample
      CROSS JOIN process_sample ON process_sample.sample_id = system_sample.id
      JOIN process ON process.id = process_sample.process_id
      JOIN name_filter ON name_filter.id = process_sample.filter_id
      JOIN boot ON boot.id = system_sample.boot_id
      JOIN host ON host.id = boot.host_id
    """)
    )
    op.execute(
        dedent("""
    CREATE VIEW process_interval AS SELECT
      taken_at,
      datetime,
      host,
      booted_at,
      sample_id,
      process_id,
      pid,
      name,
      username,
      command,
      sample_seconds,
      round(exact_seconds, 3) AS seconds,
      round(CASE WHEN exact_seconds < 0.05 THEN NULL
        WHEN cpu_user_ms + cpu_system_ms <= possible_ms * exact_seconds
        THEN cpu_user_ms + cpu_system_ms
        ELSE max(possible_ms * exact_seconds, cpu_user_ms + cpu_system_ms - inexact_ms)
        END / nullif(exact_seconds, 0) / 10, 2) AS cpu_percent,
      cpu_user_ms + cpu_system_ms AS cpu_ms,
      cpu_user_ms,
      cpu_system_ms,
      read_bytes,
      write_bytes,
      rss_bytes,
      vms_bytes,
      num_threads,
      uss_bytes,
      pss_bytes,
      swap_bytes
    FROM (SELECT
      later.taken_at AS taken_at,
      later.taken_at_local AS datetime,
      host.name AS host,
      boot.booted_at AS booted_at,
      later.id AS sample_id,
      process.id AS process_id,
      process.pid AS pid,
      process.name AS name,
      process.username AS username,
      process.command AS command,
      round(later.uptime_seconds - previous.uptime_seconds, 3) AS sample_seconds,
      CASE WHEN own.cpu_user_ms >= coalesce(before.cpu_user_ms, new.counter) THEN own.cpu_user_ms - coalesce(before.cpu_user_ms, new.counter) END AS cpu_user_ms,
      CASE WHEN own.cpu_system_ms >= coalesce(before.cpu_system_ms, new.counter) THEN own.cpu_system_ms - coalesce(before.cpu_system_ms, new.counter) END AS cpu_system_ms,
      CASE WHEN own.read_bytes >= coalesce(before.read_bytes, new.counter) THEN own.read_bytes - coalesce(before.read_bytes, new.counter) END AS read_bytes,
      CASE WHEN own.write_bytes >= coalesce(before.write_bytes, new.counter) THEN own.write_bytes - coalesce(before.write_bytes, new.counter) END AS write_bytes,
      own.rss_bytes AS rss_bytes,
      own.vms_bytes AS vms_bytes,
      own.num_threads AS num_threads,
      own.uss_bytes AS uss_bytes,
      own.pss_bytes AS pss_bytes,
      own.swap_bytes AS swap_bytes,
      later.uptime_seconds - coalesce(earlier.uptime_seconds, new.counter + CASE WHEN process.started_ticks < 100000000000 THEN process.started_ticks / 100.0
        ELSE later.uptime_seconds - (julianday(later.taken_at) - julianday(process.started_at)) * 86400 END) AS exact_seconds,
      1000 * max(coalesce(own.num_threads, 1000000), coalesce(before.num_threads, 1)) AS possible_ms,
      20 + 1000 * (coalesce(later.read_uptime_seconds - later.uptime_seconds, 0) + coalesce(earlier.read_uptime_seconds - earlier.uptime_seconds, 0)) AS inexact_ms
    FROM system_sample AS later
      JOIN boot ON boot.id = later.boot_id
      JOIN host ON host.id = boot.host_id
      LEFT JOIN system_sample AS previous ON previous.id = (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
      LEFT JOIN system_sample AS latest ON latest.id = (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND recorder_id IS later.recorder_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
      -- imported data can have a further row of the same process, for each further string that matched
      CROSS JOIN process_sample AS own ON own.sample_id = later.id
        AND own.filter_id NOT IN (SELECT id FROM name_filter WHERE rank > 0)
      JOIN process ON process.id = own.process_id
      -- its own previous sample is mostly the one before; else the latest that has it, maybe under another name
      LEFT JOIN process_sample AS direct ON direct.sample_id = previous.id AND direct.process_id = own.process_id
      LEFT JOIN process_sample AS before ON (before.sample_id, before.process_id) = (
        SELECT direct.sample_id, direct.process_id WHERE direct.sample_id IS NOT NULL
        UNION ALL SELECT * FROM (
          SELECT seen.sample_id, seen.process_id
          FROM system_sample AS sample CROSS JOIN process_sample AS seen
            ON seen.sample_id = sample.id AND seen.process_id IN (
              SELECT own.process_id UNION ALL
              SELECT id FROM process AS same
              WHERE boot_id = later.boot_id AND pid = process.pid AND started_ticks = process.started_ticks)
          WHERE direct.sample_id IS NULL AND sample.boot_id = later.boot_id
            AND (sample.uptime_seconds, sample.id) < (later.uptime_seconds, later.id)
            AND sample.uptime_seconds >= coalesce(CASE WHEN process.started_ticks < 100000000000 THEN process.started_ticks / 100.0
        ELSE later.uptime_seconds - (julianday(later.taken_at) - julianday(process.started_at)) * 86400 END, 1) - 1
          ORDER BY sample.uptime_seconds DESC, sample.id DESC LIMIT 1))
      LEFT JOIN system_sample AS earlier ON earlier.id = before.sample_id
      -- without one, it counts from its start if it began after the recorder's previous sample had listed processes
      LEFT JOIN (SELECT 0 AS counter) AS new ON before.sample_id IS NULL
        AND CASE WHEN process.started_ticks < 100000000000 THEN process.started_ticks / 100.0
        ELSE later.uptime_seconds - (julianday(later.taken_at) - julianday(process.started_at)) * 86400 END + 0.01 > coalesce(latest.listed_uptime_seconds, latest.uptime_seconds))
    """)
    )
