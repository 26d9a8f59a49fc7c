"""Device sets, and usual intervals by recorder.

Why: what a disk or an interface that is gone had counted is missing in the sum of all, so the interval in which it
went is not known; and several recorders, a faster or slower schedule, or some samples by hand, are no gap.
Older rows: disk_set_id and net_set_id are NULL, not noted, and their intervals are taken as they were.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from textwrap import dedent

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.execute("DROP VIEW system_interval")
    op.execute("DROP VIEW process_interval")
    op.execute("DROP VIEW gap")
    op.create_table(
        "device_set",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("names", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_device_set")),
        sa.UniqueConstraint("names", name=op.f("uq_device_set_names")),
    )
    # In place: rebuilding the table would take as long as the history is.
    for column in ("disk_set_id", "net_set_id"):
        op.execute(
            f"ALTER TABLE system_sample ADD COLUMN {column} INTEGER"
            f" CONSTRAINT fk_system_sample_{column} REFERENCES device_set (id)"
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
      CASE WHEN seconds >= 0.05 THEN round(100.0 * (cpu_user_ms + cpu_system_ms + coalesce(cpu_steal_ms, 0)) / (cpu_user_ms + cpu_system_ms + coalesce(cpu_steal_ms, 0) + cpu_idle_ms + coalesce(cpu_iowait_ms, 0)), 2) END AS cpu_percent,
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
      CASE WHEN later.disk_read_bytes >= earlier.disk_read_bytes AND NOT (coalesce(earlier.disk_set_id <> later.disk_set_id, 0) AND EXISTS (
          SELECT value FROM device_set, json_each('["' || replace(names, ' ', '","') || '"]')
          WHERE device_set.id = earlier.disk_set_id
          EXCEPT SELECT value FROM device_set, json_each('["' || replace(names, ' ', '","') || '"]')
          WHERE device_set.id = later.disk_set_id)) THEN later.disk_read_bytes - earlier.disk_read_bytes END AS disk_read_bytes,
      CASE WHEN later.disk_write_bytes >= earlier.disk_write_bytes AND NOT (coalesce(earlier.disk_set_id <> later.disk_set_id, 0) AND EXISTS (
          SELECT value FROM device_set, json_each('["' || replace(names, ' ', '","') || '"]')
          WHERE device_set.id = earlier.disk_set_id
          EXCEPT SELECT value FROM device_set, json_each('["' || replace(names, ' ', '","') || '"]')
          WHERE device_set.id = later.disk_set_id)) THEN later.disk_write_bytes - earlier.disk_write_bytes END AS disk_write_bytes,
      CASE WHEN later.net_sent_bytes >= earlier.net_sent_bytes AND NOT (coalesce(earlier.net_set_id <> later.net_set_id, 0) AND EXISTS (
          SELECT value FROM device_set, json_each('["' || replace(names, ' ', '","') || '"]')
          WHERE device_set.id = earlier.net_set_id
          EXCEPT SELECT value FROM device_set, json_each('["' || replace(names, ' ', '","') || '"]')
          WHERE device_set.id = later.net_set_id)) THEN later.net_sent_bytes - earlier.net_sent_bytes END AS net_sent_bytes,
      CASE WHEN later.net_received_bytes >= earlier.net_received_bytes AND NOT (coalesce(earlier.net_set_id <> later.net_set_id, 0) AND EXISTS (
          SELECT value FROM device_set, json_each('["' || replace(names, ' ', '","') || '"]')
          WHERE device_set.id = earlier.net_set_id
          EXCEPT SELECT value FROM device_set, json_each('["' || replace(names, ' ', '","') || '"]')
          WHERE device_set.id = later.net_set_id)) THEN later.net_received_bytes - earlier.net_received_bytes END AS net_received_bytes,
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
      coalesce(max(usual_before, usual_after), usual_before, usual_after) AS usual_seconds
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
      (SELECT distance FROM (
        SELECT distance, row_number() OVER (ORDER BY distance) AS place, count(*) OVER () AS places FROM (
          SELECT abs(uptime_seconds - lag(uptime_seconds) OVER (ORDER BY uptime_seconds)) AS distance FROM (
            SELECT uptime_seconds FROM system_sample
            WHERE boot_id = later.boot_id AND recorder_id IS earlier.recorder_id
              AND uptime_seconds <= earlier.uptime_seconds
            ORDER BY uptime_seconds DESC LIMIT 8))
        WHERE distance IS NOT NULL) WHERE place = (places + 1) / 2) AS usual_before,
      (SELECT distance FROM (
        SELECT distance, row_number() OVER (ORDER BY distance) AS place, count(*) OVER () AS places FROM (
          SELECT abs(uptime_seconds - lag(uptime_seconds) OVER (ORDER BY uptime_seconds)) AS distance FROM (
            SELECT uptime_seconds FROM system_sample
            WHERE boot_id = later.boot_id AND recorder_id IS later.recorder_id
              AND uptime_seconds >= later.uptime_seconds
            ORDER BY uptime_seconds ASC LIMIT 8))
        WHERE distance IS NOT NULL) WHERE place = (places + 1) / 2) AS usual_after
    FROM system_sample AS later
      JOIN system_sample AS earlier ON earlier.id = (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
      JOIN boot ON boot.id = later.boot_id
      JOIN host ON host.id = boot.host_id)
    WHERE seconds > 2.5 * coalesce(usual_before, usual_after)
      AND seconds > 2.5 * coalesce(usual_after, usual_before)
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
        WHERE taken_at < later.taken_at AND boot_id <> later.boot_id AND uptime_seconds IS NOT NULL
          AND (SELECT host_id FROM boot AS other_boot WHERE other_boot.id = other.boot_id) = boot.host_id
        ORDER BY taken_at DESC LIMIT 1)
    """)
    )


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW system_interval")
    op.execute("DROP VIEW process_interval")
    op.execute("DROP VIEW gap")
    op.execute("ALTER TABLE system_sample DROP COLUMN net_set_id")
    op.execute("ALTER TABLE system_sample DROP COLUMN disk_set_id")
    op.drop_table("device_set")
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
