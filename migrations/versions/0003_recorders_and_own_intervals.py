"""Recorders and own intervals.

Why: a process counts from its own previous sample, whoever took it; and from its start where it began after the list
of processes was read for the previous sample of the same recorder. So a sample tells who took it, and when that list
and the last process were read.
Older rows: NULL. All of a boot count as one recorder's, whose list is as old as the sample: what began while that one
waited for its window is not known to be new.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from textwrap import dedent

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("DROP VIEW system_log")
    op.execute("DROP VIEW process_log")
    op.execute("DROP VIEW system_interval")
    op.execute("DROP VIEW process_interval")
    op.execute("DROP VIEW gap")
    op.create_table(
        "recorder",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("selection", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recorder")),
        sa.UniqueConstraint("username", "selection", name=op.f("uq_recorder_username")),
    )
    # In place: rebuilding the table would take as long as the history is.
    op.execute(
        "ALTER TABLE system_sample ADD COLUMN recorder_id INTEGER"
        " CONSTRAINT fk_system_sample_recorder_id REFERENCES recorder (id)"
    )
    op.add_column("system_sample", sa.Column("listed_uptime_seconds", sa.Float(), nullable=True))
    op.add_column("system_sample", sa.Column("read_uptime_seconds", sa.Float(), nullable=True))
    op.execute(
        dedent("""
    CREATE VIEW system_log AS SELECT
      system_sample.cpu_percent AS cpu_usage,
      system_sample.taken_at_local AS datetime,
      system_sample.mem_available_bytes AS mem_available,
      system_sample.mem_used_bytes / (system_sample.mem_total_bytes + 0.0) AS mem_percent_used,
      system_sample.mem_total_bytes AS mem_total,
      system_sample.mem_used_bytes AS mem_used,
      system_sample.taken_at AS taken_at,
      host.name AS host,
      boot.booted_at AS booted_at,
      system_sample.id AS sample_id,
      system_sample.uptime_seconds AS uptime_seconds,
      system_sample.listed_uptime_seconds AS listed_uptime_seconds,
      system_sample.read_uptime_seconds AS read_uptime_seconds,
      system_sample.window_seconds AS window_seconds,
      system_sample.cpu_user_ms AS cpu_user_ms,
      system_sample.cpu_system_ms AS cpu_system_ms,
      system_sample.cpu_idle_ms AS cpu_idle_ms,
      system_sample.cpu_iowait_ms AS cpu_iowait_ms,
      system_sample.cpu_steal_ms AS cpu_steal_ms,
      system_sample.cpu_count AS cpu_count,
      system_sample.load_1min AS load_1min,
      system_sample.load_5min AS load_5min,
      system_sample.load_15min AS load_15min,
      system_sample.swap_total_bytes AS swap_total_bytes,
      system_sample.swap_used_bytes AS swap_used_bytes,
      system_sample.disk_read_bytes AS disk_read_bytes,
      system_sample.disk_write_bytes AS disk_write_bytes,
      system_sample.net_sent_bytes AS net_sent_bytes,
      system_sample.net_received_bytes AS net_received_bytes,
      system_sample.pressure_cpu_ms AS pressure_cpu_ms,
      system_sample.pressure_memory_ms AS pressure_memory_ms,
      system_sample.pressure_io_ms AS pressure_io_ms,
      system_sample.processes_seen AS processes_seen,
      system_sample.processes_denied AS processes_denied,
      system_sample.recorder_cpu_ms AS recorder_cpu_ms
    FROM system_sample
      JOIN boot ON boot.id = system_sample.boot_id
      JOIN host ON host.id = boot.host_id
    -- a sample that only gives imported process rows their instant is no reading of the system
    WHERE system_sample.cpu_percent IS NOT NULL
      OR system_sample.mem_total_bytes IS NOT NULL
      OR system_sample.processes_seen IS NOT NULL
    """)
    )
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
    CREATE VIEW system_interval AS SELECT
      taken_at,
      datetime,
      host,
      booted_at,
      sample_id,
      previous_sample_id,
      previous_taken_at,
      seconds,
      round(100.0 * (cpu_user_ms + cpu_system_ms + coalesce(cpu_steal_ms, 0)) / (cpu_user_ms + cpu_system_ms + coalesce(cpu_steal_ms, 0) + cpu_idle_ms + coalesce(cpu_iowait_ms, 0)), 2) AS cpu_percent,
      cpu_user_ms + cpu_system_ms AS cpu_ms,
      cpu_user_ms,
      cpu_system_ms,
      cpu_idle_ms,
      cpu_iowait_ms,
      cpu_steal_ms,
      disk_read_bytes,
      disk_write_bytes,
      net_sent_bytes,
      net_received_bytes,
      pressure_cpu_ms,
      pressure_memory_ms,
      pressure_io_ms,
      cpu_count
    FROM (SELECT
      later.taken_at AS taken_at,
      later.taken_at_local AS datetime,
      host.name AS host,
      boot.booted_at AS booted_at,
      later.id AS sample_id,
      earlier.id AS previous_sample_id,
      earlier.taken_at AS previous_taken_at,
      round(later.uptime_seconds - earlier.uptime_seconds, 3) AS seconds,
      CASE WHEN later.cpu_user_ms >= earlier.cpu_user_ms THEN later.cpu_user_ms - earlier.cpu_user_ms END AS cpu_user_ms,
      CASE WHEN later.cpu_system_ms >= earlier.cpu_system_ms THEN later.cpu_system_ms - earlier.cpu_system_ms END AS cpu_system_ms,
      CASE WHEN later.cpu_idle_ms >= earlier.cpu_idle_ms THEN later.cpu_idle_ms - earlier.cpu_idle_ms END AS cpu_idle_ms,
      CASE WHEN later.cpu_iowait_ms >= earlier.cpu_iowait_ms THEN later.cpu_iowait_ms - earlier.cpu_iowait_ms END AS cpu_iowait_ms,
      CASE WHEN later.cpu_steal_ms >= earlier.cpu_steal_ms THEN later.cpu_steal_ms - earlier.cpu_steal_ms END AS cpu_steal_ms,
      CASE WHEN later.disk_read_bytes >= earlier.disk_read_bytes THEN later.disk_read_bytes - earlier.disk_read_bytes END AS disk_read_bytes,
      CASE WHEN later.disk_write_bytes >= earlier.disk_write_bytes THEN later.disk_write_bytes - earlier.disk_write_bytes END AS disk_write_bytes,
      CASE WHEN later.net_sent_bytes >= earlier.net_sent_bytes THEN later.net_sent_bytes - earlier.net_sent_bytes END AS net_sent_bytes,
      CASE WHEN later.net_received_bytes >= earlier.net_received_bytes THEN later.net_received_bytes - earlier.net_received_bytes END AS net_received_bytes,
      CASE WHEN later.pressure_cpu_ms >= earlier.pressure_cpu_ms THEN later.pressure_cpu_ms - earlier.pressure_cpu_ms END AS pressure_cpu_ms,
      CASE WHEN later.pressure_memory_ms >= earlier.pressure_memory_ms THEN later.pressure_memory_ms - earlier.pressure_memory_ms END AS pressure_memory_ms,
      CASE WHEN later.pressure_io_ms >= earlier.pressure_io_ms THEN later.pressure_io_ms - earlier.pressure_io_ms END AS pressure_io_ms,
      later.cpu_count AS cpu_count
    FROM system_sample AS later
      JOIN system_sample AS earlier ON earlier.id = (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
      JOIN boot ON boot.id = later.boot_id
      JOIN host ON host.id = boot.host_id)
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
      round(CASE WHEN cpu_user_ms + cpu_system_ms <= possible_ms * exact_seconds
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
    op.execute(
        dedent("""
    CREATE VIEW gap AS SELECT
      taken_at,
      datetime,
      host,
      booted_at,
      sample_id,
      previous_taken_at,
      previous_datetime,
      kind,
      seconds,
      usual_seconds
    FROM (SELECT
      later.taken_at AS taken_at,
      later.taken_at_local AS datetime,
      host.name AS host,
      boot.booted_at AS booted_at,
      later.id AS sample_id,
      earlier.taken_at AS previous_taken_at,
      earlier.taken_at_local AS previous_datetime,
      'gap' AS kind,
      round(later.uptime_seconds - earlier.uptime_seconds, 3) AS seconds,
      min(coalesce((SELECT max(distance) / nullif(count(*), 0) FROM (
        SELECT abs(uptime_seconds - earlier.uptime_seconds) AS distance FROM system_sample
        WHERE boot_id = later.boot_id AND uptime_seconds < earlier.uptime_seconds
        ORDER BY uptime_seconds DESC LIMIT 5)), 9e999),
        coalesce((SELECT max(distance) / nullif(count(*), 0) FROM (
        SELECT abs(uptime_seconds - later.uptime_seconds) AS distance FROM system_sample
        WHERE boot_id = later.boot_id AND uptime_seconds > later.uptime_seconds
        ORDER BY uptime_seconds ASC LIMIT 5)), 9e999)) AS usual_seconds
    FROM system_sample AS later
      JOIN system_sample AS earlier ON earlier.id = (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
      JOIN boot ON boot.id = later.boot_id
      JOIN host ON host.id = boot.host_id)
    WHERE seconds > 2.5 * usual_seconds
    UNION ALL
    SELECT
      later.taken_at AS taken_at,
      later.taken_at_local AS datetime,
      host.name AS host,
      boot.booted_at AS booted_at,
      later.id AS sample_id,
      earlier.taken_at AS previous_taken_at,
      earlier.taken_at_local AS previous_datetime,
      'boot' AS kind,
      round((julianday(later.taken_at) - julianday(earlier.taken_at)) * 86400, 3) AS seconds,
      NULL AS usual_seconds
    FROM boot
      JOIN host ON host.id = boot.host_id
      JOIN system_sample AS later ON later.id = (
        SELECT id FROM system_sample
        WHERE boot_id = boot.id AND uptime_seconds IS NOT NULL
        ORDER BY uptime_seconds, id LIMIT 1)
      JOIN system_sample AS earlier ON earlier.id = (
        SELECT id FROM system_sample AS other
        WHERE taken_at < later.taken_at AND boot_id <> later.boot_id
          AND (SELECT host_id FROM boot AS other_boot WHERE other_boot.id = other.boot_id) = boot.host_id
        ORDER BY taken_at DESC LIMIT 1)
    """)
    )


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW system_log")
    op.execute("DROP VIEW process_log")
    op.execute("DROP VIEW system_interval")
    op.execute("DROP VIEW process_interval")
    op.execute("DROP VIEW gap")
    # Alembic would look for the constraint at the end of the table, but it is the column's and goes with it.
    op.execute("ALTER TABLE system_sample DROP COLUMN read_uptime_seconds")
    op.execute("ALTER TABLE system_sample DROP COLUMN listed_uptime_seconds")
    op.execute("ALTER TABLE system_sample DROP COLUMN recorder_id")
    op.drop_table("recorder")
    op.execute(
        dedent("""
    CREATE VIEW system_log AS SELECT
      system_sample.cpu_percent AS cpu_usage,
      system_sample.taken_at_local AS datetime,
      system_sample.mem_available_bytes AS mem_available,
      system_sample.mem_used_bytes / (system_sample.mem_total_bytes + 0.0) AS mem_percent_used,
      system_sample.mem_total_bytes AS mem_total,
      system_sample.mem_used_bytes AS mem_used,
      system_sample.taken_at AS taken_at,
      host.name AS host,
      boot.booted_at AS booted_at,
      system_sample.id AS sample_id,
      system_sample.uptime_seconds AS uptime_seconds,
      system_sample.window_seconds AS window_seconds,
      system_sample.cpu_user_ms AS cpu_user_ms,
      system_sample.cpu_system_ms AS cpu_system_ms,
      system_sample.cpu_idle_ms AS cpu_idle_ms,
      system_sample.cpu_iowait_ms AS cpu_iowait_ms,
      system_sample.cpu_steal_ms AS cpu_steal_ms,
      system_sample.cpu_count AS cpu_count,
      system_sample.load_1min AS load_1min,
      system_sample.load_5min AS load_5min,
      system_sample.load_15min AS load_15min,
      system_sample.swap_total_bytes AS swap_total_bytes,
      system_sample.swap_used_bytes AS swap_used_bytes,
      system_sample.disk_read_bytes AS disk_read_bytes,
      system_sample.disk_write_bytes AS disk_write_bytes,
      system_sample.net_sent_bytes AS net_sent_bytes,
      system_sample.net_received_bytes AS net_received_bytes,
      system_sample.pressure_cpu_ms AS pressure_cpu_ms,
      system_sample.pressure_memory_ms AS pressure_memory_ms,
      system_sample.pressure_io_ms AS pressure_io_ms,
      system_sample.processes_seen AS processes_seen,
      system_sample.processes_denied AS processes_denied,
      system_sample.recorder_cpu_ms AS recorder_cpu_ms
    FROM system_sample
      JOIN boot ON boot.id = system_sample.boot_id
      JOIN host ON host.id = boot.host_id
    WHERE system_sample.cpu_percent IS NOT NULL
      OR system_sample.mem_total_bytes IS NOT NULL
      OR system_sample.processes_seen IS NOT NULL
    """)
    )
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
      CROSS JOIN process_sample ON system_sample.id = process_sample.sample_id
      JOIN process ON process.id = process_sample.process_id
      JOIN name_filter ON name_filter.id = process_sample.filter_id
      JOIN boot ON system_sample.boot_id = boot.id
      JOIN host ON host.id = boot.host_id
    """)
    )
    op.execute(
        dedent("""
    CREATE VIEW system_interval AS
    SELECT taken_at, datetime, host, booted_at, sample_id, previous_sample_id, previous_taken_at, seconds,
      round(100.0 * (cpu_user_ms + cpu_system_ms + coalesce(cpu_steal_ms, 0))
        / (cpu_user_ms + cpu_system_ms + coalesce(cpu_steal_ms, 0) + cpu_idle_ms + coalesce(cpu_iowait_ms, 0)), 2)
        AS cpu_percent,
      cpu_user_ms + cpu_system_ms AS cpu_ms,
      cpu_user_ms,
      cpu_system_ms,
      cpu_idle_ms,
      cpu_iowait_ms,
      cpu_steal_ms,
      disk_read_bytes,
      disk_write_bytes,
      net_sent_bytes,
      net_received_bytes,
      pressure_cpu_ms,
      pressure_memory_ms,
      pressure_io_ms,
      cpu_count
    FROM (SELECT
      later.taken_at AS taken_at,
      later.taken_at_local AS datetime,
      host.name AS host,
      boot.booted_at AS booted_at,
      later.id AS sample_id,
      earlier.id AS previous_sample_id,
      earlier.taken_at AS previous_taken_at,
      round(later.uptime_seconds - earlier.uptime_seconds, 3) AS seconds,
      CASE WHEN later.cpu_user_ms >= earlier.cpu_user_ms THEN later.cpu_user_ms - earlier.cpu_user_ms END AS cpu_user_ms,
      CASE WHEN later.cpu_system_ms >= earlier.cpu_system_ms THEN later.cpu_system_ms - earlier.cpu_system_ms END AS cpu_system_ms,
      CASE WHEN later.cpu_idle_ms >= earlier.cpu_idle_ms THEN later.cpu_idle_ms - earlier.cpu_idle_ms END AS cpu_idle_ms,
      CASE WHEN later.cpu_iowait_ms >= earlier.cpu_iowait_ms THEN later.cpu_iowait_ms - earlier.cpu_iowait_ms END AS cpu_iowait_ms,
      CASE WHEN later.cpu_steal_ms >= earlier.cpu_steal_ms THEN later.cpu_steal_ms - earlier.cpu_steal_ms END AS cpu_steal_ms,
      CASE WHEN later.disk_read_bytes >= earlier.disk_read_bytes THEN later.disk_read_bytes - earlier.disk_read_bytes END AS disk_read_bytes,
      CASE WHEN later.disk_write_bytes >= earlier.disk_write_bytes THEN later.disk_write_bytes - earlier.disk_write_bytes END AS disk_write_bytes,
      CASE WHEN later.net_sent_bytes >= earlier.net_sent_bytes THEN later.net_sent_bytes - earlier.net_sent_bytes END AS net_sent_bytes,
      CASE WHEN later.net_received_bytes >= earlier.net_received_bytes THEN later.net_received_bytes - earlier.net_received_bytes END AS net_received_bytes,
      CASE WHEN later.pressure_cpu_ms >= earlier.pressure_cpu_ms THEN later.pressure_cpu_ms - earlier.pressure_cpu_ms END AS pressure_cpu_ms,
      CASE WHEN later.pressure_memory_ms >= earlier.pressure_memory_ms THEN later.pressure_memory_ms - earlier.pressure_memory_ms END AS pressure_memory_ms,
      CASE WHEN later.pressure_io_ms >= earlier.pressure_io_ms THEN later.pressure_io_ms - earlier.pressure_io_ms END AS pressure_io_ms,
      later.cpu_count AS cpu_count
    FROM system_sample AS later
      JOIN system_sample AS earlier ON earlier.id = (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
      JOIN boot ON boot.id = later.boot_id
      JOIN host ON host.id = boot.host_id)
    """)
    )
    op.execute(
        dedent("""
    CREATE VIEW process_interval AS
    SELECT taken_at, datetime, host, booted_at, sample_id, process_id, pid, name, username, command, seconds,
      round((cpu_user_ms + cpu_system_ms) / seconds / 10, 2) AS cpu_percent,
      cpu_user_ms + cpu_system_ms AS cpu_ms,
      cpu_user_ms,
      cpu_system_ms,
      read_bytes,
      write_bytes,
      rss_bytes,
      num_threads
    FROM (SELECT taken_at, datetime, host, booted_at, sample_id, process_id, pid, name, username, command, seconds,
      CASE WHEN cpu_user_ms >= coalesce(cpu_user_ms_before, if_new) THEN cpu_user_ms - coalesce(cpu_user_ms_before, if_new) END AS cpu_user_ms,
      CASE WHEN cpu_system_ms >= coalesce(cpu_system_ms_before, if_new) THEN cpu_system_ms - coalesce(cpu_system_ms_before, if_new) END AS cpu_system_ms,
      CASE WHEN read_bytes >= coalesce(read_bytes_before, if_new) THEN read_bytes - coalesce(read_bytes_before, if_new) END AS read_bytes,
      CASE WHEN write_bytes >= coalesce(write_bytes_before, if_new) THEN write_bytes - coalesce(write_bytes_before, if_new) END AS write_bytes,
      rss_bytes,
      num_threads
    FROM (SELECT
      later.taken_at AS taken_at,
      later.taken_at_local AS datetime,
      host.name AS host,
      boot.booted_at AS booted_at,
      later.id AS sample_id,
      process_sample.process_id AS process_id,
      process.pid AS pid,
      process.name AS name,
      process.username AS username,
      process.command AS command,
      round(later.uptime_seconds - earlier.uptime_seconds, 3) AS seconds,
      CASE WHEN process.started_ticks
        > 100 * (earlier.uptime_seconds - coalesce(min(earlier.window_seconds, 2), 0))
        AND (process.started_ticks < 100000000000 OR process.started_at > earlier.taken_at)
        THEN 0 END AS if_new,
      process_sample.cpu_user_ms AS cpu_user_ms, before.cpu_user_ms AS cpu_user_ms_before,
      process_sample.cpu_system_ms AS cpu_system_ms, before.cpu_system_ms AS cpu_system_ms_before,
      process_sample.read_bytes AS read_bytes, before.read_bytes AS read_bytes_before,
      process_sample.write_bytes AS write_bytes, before.write_bytes AS write_bytes_before,
      process_sample.rss_bytes AS rss_bytes,
      process_sample.num_threads AS num_threads
    FROM system_sample AS later
      JOIN system_sample AS earlier ON earlier.id = (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
      JOIN boot ON boot.id = later.boot_id
      JOIN host ON host.id = boot.host_id
      CROSS JOIN process_sample ON process_sample.sample_id = later.id
      JOIN process ON process.id = process_sample.process_id
      -- the same process may have had another name then
      LEFT JOIN process_sample AS before ON before.sample_id = earlier.id AND before.process_id = (
        SELECT seen.process_id
        FROM process AS same CROSS JOIN process_sample AS seen ON seen.process_id = same.id
        WHERE seen.sample_id = earlier.id AND same.boot_id = process.boot_id AND same.pid = process.pid
          AND same.started_ticks = process.started_ticks
        LIMIT 1)))
    """)
    )
    op.execute(
        dedent("""
    CREATE VIEW gap AS
    SELECT taken_at, datetime, host, booted_at, sample_id, previous_taken_at, previous_datetime, kind, seconds,
      usual_seconds
    FROM (SELECT
      later.taken_at AS taken_at,
      later.taken_at_local AS datetime,
      host.name AS host,
      boot.booted_at AS booted_at,
      later.id AS sample_id,
      earlier.taken_at AS previous_taken_at,
      earlier.taken_at_local AS previous_datetime,
      'gap' AS kind,
      round(later.uptime_seconds - earlier.uptime_seconds, 3) AS seconds,
      min(coalesce((SELECT max(distance) / nullif(count(*), 0) FROM (
        SELECT abs(uptime_seconds - earlier.uptime_seconds) AS distance FROM system_sample
        WHERE boot_id = later.boot_id AND uptime_seconds < earlier.uptime_seconds
        ORDER BY uptime_seconds DESC LIMIT 5)), 9e999),
        coalesce((SELECT max(distance) / nullif(count(*), 0) FROM (
        SELECT abs(uptime_seconds - later.uptime_seconds) AS distance FROM system_sample
        WHERE boot_id = later.boot_id AND uptime_seconds > later.uptime_seconds
        ORDER BY uptime_seconds ASC LIMIT 5)), 9e999)) AS usual_seconds
    FROM system_sample AS later
      JOIN system_sample AS earlier ON earlier.id = (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
      JOIN boot ON boot.id = later.boot_id
      JOIN host ON host.id = boot.host_id)
    WHERE seconds > 2.5 * usual_seconds
    UNION ALL
    SELECT
      later.taken_at AS taken_at,
      later.taken_at_local AS datetime,
      host.name AS host,
      boot.booted_at AS booted_at,
      later.id AS sample_id,
      earlier.taken_at AS previous_taken_at,
      earlier.taken_at_local AS previous_datetime,
      'boot' AS kind,
      round((julianday(later.taken_at) - julianday(earlier.taken_at)) * 86400, 3) AS seconds,
      NULL AS usual_seconds
    FROM boot
      JOIN host ON host.id = boot.host_id
      JOIN system_sample AS later ON later.id = (
        SELECT id FROM system_sample
        WHERE boot_id = boot.id AND uptime_seconds IS NOT NULL
        ORDER BY uptime_seconds, id LIMIT 1)
      JOIN system_sample AS earlier ON earlier.id = (
        SELECT id FROM system_sample AS other
        WHERE taken_at < later.taken_at AND boot_id <> later.boot_id
          AND (SELECT host_id FROM boot AS other_boot WHERE other_boot.id = other.boot_id) = boot.host_id
        ORDER BY taken_at DESC LIMIT 1)
    """)
    )
