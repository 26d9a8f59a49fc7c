"""Intervals and gaps.

Why: what happened between one sample and the next (system_interval, process_interval), and where nothing was recorded
(gap), each found through an index on a boot's samples in the order of their uptime.
Older rows: their intervals show like those of new ones; imported data has no uptime, and so none.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index(op.f("ix_system_sample_boot_id"), "system_sample", ["boot_id", "uptime_seconds"])
    op.execute("""
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
    op.execute("""
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
    op.execute("""
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


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW gap")
    op.execute("DROP VIEW process_interval")
    op.execute("DROP VIEW system_interval")
    op.drop_index(op.f("ix_system_sample_boot_id"), "system_sample")
