"""Condensed samples: rows that stand for several, with the largest values in them.

Why: of what is older than keep_every_sample one sample an hour stays, and no sum and no peak is lost by it. A row of a
control group may outlive the one before it, so what links them is no foreign key any more.
Older rows: all new columns are NULL: every sample is an ordinary one.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from textwrap import dedent
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

OF_CGROUPS = ("samples", "cpu_percent_max", "memory_max_bytes", "tasks_max")
PROCESS_SAMPLE_COLUMNS: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("samples", sa.Integer()),
    ("previous_sample_id", sa.Integer()),
    ("cpu_percent_max", sa.Float()),
    ("rss_max_bytes", sa.Integer()),
    ("num_threads_max", sa.Integer()),
)
SYSTEM_SAMPLE_COLUMNS: tuple[tuple[str, sa.types.TypeEngine[Any]], ...] = (
    ("samples", sa.Integer()),
    ("cpu_percent_max", sa.Float()),
    ("load_1min_max", sa.Float()),
    ("load_5min_max", sa.Float()),
    ("load_15min_max", sa.Float()),
    ("mem_used_max_bytes", sa.Integer()),
    ("swap_used_max_bytes", sa.Integer()),
    ("disk_read_max_bytes_per_second", sa.Float()),
    ("disk_write_max_bytes_per_second", sa.Float()),
    ("net_sent_max_bytes_per_second", sa.Float()),
    ("net_received_max_bytes_per_second", sa.Float()),
    ("pressure_cpu_max_percent", sa.Float()),
    ("pressure_memory_max_percent", sa.Float()),
    ("pressure_io_max_percent", sa.Float()),
    ("forks_max_per_second", sa.Float()),
    ("tasks_running_max", sa.Integer()),
    ("tasks_blocked_max", sa.Integer()),
)


def _make_cgroup_sample_anew(*further: str, linked: bool) -> None:
    """Make the table with *further* columns; *linked*: previous_sample_id is a foreign key."""
    columns = (
        *("sample_id", "cgroup_id", "previous_sample_id", "cpu_user_ms", "cpu_system_ms", "memory_bytes"),
        *("memory_peak_bytes", "oom_kills", "read_bytes", "write_bytes", "tasks"),
    )
    keys = {"sample_id": "system_sample", "cgroup_id": "cgroup"} | (
        {"previous_sample_id": "system_sample"} if linked else {}
    )
    op.create_table(
        "cgroup_sample_anew",
        *(sa.Column(name, sa.Integer(), nullable=name not in columns[:2]) for name in columns),
        *(sa.Column(name, sa.Float() if name.endswith("percent_max") else sa.Integer()) for name in further),
        *(
            sa.ForeignKeyConstraint([name], [f"{table}.id"], name=op.f(f"fk_cgroup_sample_{name}"))
            for name, table in keys.items()
        ),
        sa.PrimaryKeyConstraint("sample_id", "cgroup_id", name=op.f("pk_cgroup_sample")),
        sqlite_with_rowid=False,
    )
    old, new = (sa.table(name, *map(sa.column, columns)) for name in ("cgroup_sample", "cgroup_sample_anew"))
    op.execute(sa.insert(new).from_select(columns, sa.select(old)))
    op.drop_table("cgroup_sample")
    op.rename_table("cgroup_sample_anew", "cgroup_sample")


def upgrade() -> None:
    """Apply."""
    op.execute("DROP VIEW gap")
    op.execute("DROP VIEW system_log")
    op.execute("DROP VIEW system_interval")
    op.execute("DROP VIEW process_log")
    op.execute("DROP VIEW process_interval")
    op.execute("DROP VIEW cgroup_interval")
    _make_cgroup_sample_anew(*OF_CGROUPS, linked=False)
    # in place: rebuilding the tables would take minutes of a large database
    for table, columns in (("process_sample", PROCESS_SAMPLE_COLUMNS), ("system_sample", SYSTEM_SAMPLE_COLUMNS)):
        for name, kind in columns:
            op.add_column(table, sa.Column(name, kind, nullable=True))
    op.create_index(
        "ix_system_sample_ordinary",
        "system_sample",
        ["taken_at"],
        sqlite_where=sa.text("samples IS NULL AND uptime_seconds IS NOT NULL"),
    )
    op.create_index(
        "ix_cgroup_gone", "cgroup", ["gone_sample_id"], sqlite_where=sa.text("gone_sample_id IS NOT NULL")
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
      coalesce(later.samples, 1) AS samples,
      (SELECT distance FROM (
        SELECT distance, row_number() OVER (ORDER BY distance) AS place, count(*) OVER () AS places FROM (
          SELECT abs(uptime_seconds - lag(uptime_seconds) OVER (ORDER BY uptime_seconds)) / samples AS distance FROM (
            SELECT uptime_seconds, coalesce(samples, 1.0) AS samples FROM system_sample
            WHERE boot_id = later.boot_id AND recorder_id IS earlier.recorder_id
              AND uptime_seconds <= earlier.uptime_seconds
            ORDER BY uptime_seconds DESC LIMIT 8))
        WHERE distance IS NOT NULL) WHERE place = (places + 1) / 2) AS usual_before,
      (SELECT distance FROM (
        SELECT distance, row_number() OVER (ORDER BY distance) AS place, count(*) OVER () AS places FROM (
          SELECT abs(uptime_seconds - lag(uptime_seconds) OVER (ORDER BY uptime_seconds)) / samples AS distance FROM (
            SELECT uptime_seconds, coalesce(samples, 1.0) AS samples FROM system_sample
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
    WHERE seconds / samples > 2.5 * coalesce(usual_before, usual_after)
      AND seconds / samples > 2.5 * coalesce(usual_after, usual_before)
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
      system_sample.forks AS forks,
      system_sample.context_switches AS context_switches,
      system_sample.oom_kills AS oom_kills,
      system_sample.tasks_running AS tasks_running,
      system_sample.tasks_blocked AS tasks_blocked,
      system_sample.cgroups_seen AS cgroups_seen,
      system_sample.processes_seen AS processes_seen,
      system_sample.processes_denied AS processes_denied,
      system_sample.recorder_cpu_ms AS recorder_cpu_ms,
      system_sample.samples AS samples,
      system_sample.cpu_percent_max AS cpu_percent_max,
      system_sample.load_1min_max AS load_1min_max,
      system_sample.load_5min_max AS load_5min_max,
      system_sample.load_15min_max AS load_15min_max,
      system_sample.mem_used_max_bytes AS mem_used_max_bytes,
      system_sample.swap_used_max_bytes AS swap_used_max_bytes,
      system_sample.disk_read_max_bytes_per_second AS disk_read_max_bytes_per_second,
      system_sample.disk_write_max_bytes_per_second AS disk_write_max_bytes_per_second,
      system_sample.net_sent_max_bytes_per_second AS net_sent_max_bytes_per_second,
      system_sample.net_received_max_bytes_per_second AS net_received_max_bytes_per_second,
      system_sample.pressure_cpu_max_percent AS pressure_cpu_max_percent,
      system_sample.pressure_memory_max_percent AS pressure_memory_max_percent,
      system_sample.pressure_io_max_percent AS pressure_io_max_percent,
      system_sample.forks_max_per_second AS forks_max_per_second,
      system_sample.tasks_running_max AS tasks_running_max,
      system_sample.tasks_blocked_max AS tasks_blocked_max
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
      forks,
      context_switches,
      oom_kills,
      cpu_count,
      load_1min,
      load_5min,
      load_15min,
      mem_used_bytes,
      swap_used_bytes,
      tasks_running,
      tasks_blocked,
      coalesce(samples, 1) AS samples,
      coalesce(cpu_percent_max, CASE WHEN seconds >= 0.05 THEN round(100.0 * (cpu_user_ms + cpu_system_ms + coalesce(cpu_steal_ms, 0)) / (cpu_user_ms + cpu_system_ms + coalesce(cpu_steal_ms, 0) + cpu_idle_ms + coalesce(cpu_iowait_ms, 0)), 2) END) AS cpu_percent_max,
      coalesce(load_1min_max, load_1min) AS load_1min_max,
      coalesce(load_5min_max, load_5min) AS load_5min_max,
      coalesce(load_15min_max, load_15min) AS load_15min_max,
      coalesce(mem_used_max_bytes, mem_used_bytes) AS mem_used_max_bytes,
      coalesce(swap_used_max_bytes, swap_used_bytes) AS swap_used_max_bytes,
      coalesce(disk_read_max_bytes_per_second, disk_read_bytes * 1.0 / nullif(seconds, 0)) AS disk_read_max_bytes_per_second,
      coalesce(disk_write_max_bytes_per_second, disk_write_bytes * 1.0 / nullif(seconds, 0)) AS disk_write_max_bytes_per_second,
      coalesce(net_sent_max_bytes_per_second, net_sent_bytes * 1.0 / nullif(seconds, 0)) AS net_sent_max_bytes_per_second,
      coalesce(net_received_max_bytes_per_second, net_received_bytes * 1.0 / nullif(seconds, 0)) AS net_received_max_bytes_per_second,
      coalesce(pressure_cpu_max_percent, pressure_cpu_ms * 0.1 / nullif(seconds, 0)) AS pressure_cpu_max_percent,
      coalesce(pressure_memory_max_percent, pressure_memory_ms * 0.1 / nullif(seconds, 0)) AS pressure_memory_max_percent,
      coalesce(pressure_io_max_percent, pressure_io_ms * 0.1 / nullif(seconds, 0)) AS pressure_io_max_percent,
      coalesce(forks_max_per_second, forks * 1.0 / nullif(seconds, 0)) AS forks_max_per_second,
      coalesce(tasks_running_max, tasks_running) AS tasks_running_max,
      coalesce(tasks_blocked_max, tasks_blocked) AS tasks_blocked_max
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
      CASE WHEN later.forks >= earlier.forks THEN later.forks - earlier.forks END AS forks,
      CASE WHEN later.context_switches >= earlier.context_switches THEN later.context_switches - earlier.context_switches END AS context_switches,
      CASE WHEN later.oom_kills >= earlier.oom_kills THEN later.oom_kills - earlier.oom_kills END AS oom_kills,
      later.cpu_count AS cpu_count,
      later.load_1min AS load_1min,
      later.load_5min AS load_5min,
      later.load_15min AS load_15min,
      later.mem_used_bytes AS mem_used_bytes,
      later.swap_used_bytes AS swap_used_bytes,
      later.tasks_running AS tasks_running,
      later.tasks_blocked AS tasks_blocked,
      later.samples AS samples,
      later.cpu_percent_max AS cpu_percent_max,
      later.load_1min_max AS load_1min_max,
      later.load_5min_max AS load_5min_max,
      later.load_15min_max AS load_15min_max,
      later.mem_used_max_bytes AS mem_used_max_bytes,
      later.swap_used_max_bytes AS swap_used_max_bytes,
      later.disk_read_max_bytes_per_second AS disk_read_max_bytes_per_second,
      later.disk_write_max_bytes_per_second AS disk_write_max_bytes_per_second,
      later.net_sent_max_bytes_per_second AS net_sent_max_bytes_per_second,
      later.net_received_max_bytes_per_second AS net_received_max_bytes_per_second,
      later.pressure_cpu_max_percent AS pressure_cpu_max_percent,
      later.pressure_memory_max_percent AS pressure_memory_max_percent,
      later.pressure_io_max_percent AS pressure_io_max_percent,
      later.forks_max_per_second AS forks_max_per_second,
      later.tasks_running_max AS tasks_running_max,
      later.tasks_blocked_max AS tasks_blocked_max
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
      cgroup.unit AS unit,
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
      process_sample.major_faults AS major_faults,
      process_sample.read_bytes AS read_bytes,
      process_sample.write_bytes AS write_bytes,
      process_sample.own_read_bytes AS own_read_bytes,
      process_sample.own_write_bytes AS own_write_bytes,
      process_sample.uss_bytes AS uss_bytes,
      process_sample.pss_bytes AS pss_bytes,
      process_sample.swap_bytes AS swap_bytes,
      process_sample.samples AS samples,
      process_sample.cpu_percent_max AS cpu_percent_max,
      process_sample.rss_max_bytes AS rss_max_bytes,
      process_sample.num_threads_max AS num_threads_max
    FROM system_sample
      CROSS JOIN process_sample ON process_sample.sample_id = system_sample.id
      JOIN process ON process.id = process_sample.process_id
      LEFT JOIN cgroup ON cgroup.id = process.cgroup_id
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
      unit,
      previous_sample_id,
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
      major_faults,
      read_bytes,
      write_bytes,
      own_read_bytes,
      own_write_bytes,
      rss_bytes,
      vms_bytes,
      num_threads,
      uss_bytes,
      pss_bytes,
      swap_bytes,
      coalesce(samples, 1) AS samples,
      coalesce(cpu_percent_max, round(CASE WHEN exact_seconds < 0.05 THEN NULL
        WHEN cpu_user_ms + cpu_system_ms <= possible_ms * exact_seconds
        THEN cpu_user_ms + cpu_system_ms
        ELSE max(possible_ms * exact_seconds, cpu_user_ms + cpu_system_ms - inexact_ms)
        END / nullif(exact_seconds, 0) / 10, 2)) AS cpu_percent_max,
      coalesce(rss_max_bytes, rss_bytes) AS rss_max_bytes,
      coalesce(num_threads_max, num_threads) AS num_threads_max
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
      cgroup.unit AS unit,
      before.sample_id AS previous_sample_id,
      round(later.uptime_seconds - previous.uptime_seconds, 3) AS sample_seconds,
      CASE WHEN own.cpu_user_ms >= coalesce(before.cpu_user_ms, new.counter) THEN own.cpu_user_ms - coalesce(before.cpu_user_ms, new.counter) END AS cpu_user_ms,
      CASE WHEN own.cpu_system_ms >= coalesce(before.cpu_system_ms, new.counter) THEN own.cpu_system_ms - coalesce(before.cpu_system_ms, new.counter) END AS cpu_system_ms,
      CASE WHEN own.children_user_ms >= coalesce(before.children_user_ms, new.counter) THEN own.children_user_ms - coalesce(before.children_user_ms, new.counter) END AS children_user_ms,
      CASE WHEN own.children_system_ms >= coalesce(before.children_system_ms, new.counter) THEN own.children_system_ms - coalesce(before.children_system_ms, new.counter) END AS children_system_ms,
      CASE WHEN own.major_faults >= coalesce(before.major_faults, new.counter) THEN own.major_faults - coalesce(before.major_faults, new.counter) END AS major_faults,
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
      20 + 1000 * (coalesce(later.read_uptime_seconds - later.uptime_seconds, 0) + coalesce(earlier.read_uptime_seconds - earlier.uptime_seconds, 0)) AS inexact_ms,
      own.samples AS samples,
      own.cpu_percent_max AS cpu_percent_max,
      own.rss_max_bytes AS rss_max_bytes,
      own.num_threads_max AS num_threads_max
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
      LEFT JOIN cgroup ON cgroup.id = process.cgroup_id
      -- its own previous sample is mostly the one before; else the latest that has it, maybe under another name; a
      -- condensed row knows which one
      LEFT JOIN process_sample AS direct
        ON direct.sample_id = iif(own.samples IS NULL, previous.id, own.previous_sample_id)
        AND direct.process_id = own.process_id
      LEFT JOIN process_sample AS before ON (before.sample_id, before.process_id) = (
        SELECT direct.sample_id, direct.process_id WHERE direct.sample_id IS NOT NULL
        UNION ALL SELECT seen.sample_id, seen.process_id
          FROM process AS same CROSS JOIN process_sample AS seen
            ON seen.sample_id = own.previous_sample_id AND seen.process_id = same.id
          WHERE direct.sample_id IS NULL AND own.previous_sample_id IS NOT NULL
            AND same.boot_id = later.boot_id AND same.pid = process.pid AND same.started_ticks = process.started_ticks
        UNION ALL SELECT * FROM (
          SELECT seen.sample_id, seen.process_id
          FROM system_sample AS sample CROSS JOIN process_sample AS seen
            ON seen.sample_id = sample.id AND seen.process_id IN (
              SELECT own.process_id UNION ALL
              SELECT id FROM process AS same
              WHERE boot_id = later.boot_id AND pid = process.pid AND started_ticks = process.started_ticks)
          WHERE direct.sample_id IS NULL AND own.samples IS NULL AND sample.boot_id = later.boot_id
            AND (sample.uptime_seconds, sample.id) < (later.uptime_seconds, later.id)
            AND sample.uptime_seconds >= coalesce(CASE WHEN process.started_ticks < 100000000000 THEN process.started_ticks / 100.0
        ELSE later.uptime_seconds - (julianday(later.taken_at) - julianday(process.started_at)) * 86400 END, 1) - 1
          ORDER BY sample.uptime_seconds DESC, sample.id DESC LIMIT 1))
      LEFT JOIN system_sample AS earlier ON earlier.id = before.sample_id
      -- without one, it counts from its start if it began after the recorder's previous sample had listed processes
      LEFT JOIN (SELECT 0 AS counter) AS new ON before.sample_id IS NULL AND iif(own.samples IS NULL,
        CASE WHEN process.started_ticks < 100000000000 THEN process.started_ticks / 100.0
        ELSE later.uptime_seconds - (julianday(later.taken_at) - julianday(process.started_at)) * 86400 END + 0.01 > coalesce(latest.listed_uptime_seconds, latest.uptime_seconds),
        own.samples > 0 AND own.previous_sample_id IS NULL))
    """)
    )
    op.execute(
        dedent("""
    CREATE VIEW cgroup_interval AS SELECT
      taken_at,
      datetime,
      host,
      booted_at,
      sample_id,
      cgroup_id,
      path,
      unit,
      parent_id,
      previous_sample_id,
      seconds,
      CASE WHEN seconds >= 0.05 THEN round((cpu_user_ms + cpu_system_ms) / seconds / 10, 2)
        END AS cpu_percent,
      cpu_user_ms + cpu_system_ms AS cpu_ms,
      cpu_user_ms,
      cpu_system_ms,
      oom_kills,
      read_bytes,
      write_bytes,
      memory_bytes,
      memory_peak_bytes,
      tasks,
      coalesce(samples, 1) AS samples,
      coalesce(cpu_percent_max, CASE WHEN seconds >= 0.05 THEN round((cpu_user_ms + cpu_system_ms) / seconds / 10, 2)
        END) AS cpu_percent_max,
      coalesce(memory_max_bytes, memory_bytes) AS memory_max_bytes,
      coalesce(tasks_max, tasks) AS tasks_max
    FROM (SELECT
      later.taken_at AS taken_at,
      later.taken_at_local AS datetime,
      host.name AS host,
      boot.booted_at AS booted_at,
      later.id AS sample_id,
      cgroup.id AS cgroup_id,
      cgroup.path AS path,
      cgroup.unit AS unit,
      cgroup.parent_id AS parent_id,
      own.previous_sample_id AS previous_sample_id,
      round(later.uptime_seconds - earlier.uptime_seconds, 3) AS seconds,
      CASE WHEN own.cpu_user_ms >= coalesce(before.cpu_user_ms, new.counter) THEN own.cpu_user_ms - coalesce(before.cpu_user_ms, new.counter) END AS cpu_user_ms,
      CASE WHEN own.cpu_system_ms >= coalesce(before.cpu_system_ms, new.counter) THEN own.cpu_system_ms - coalesce(before.cpu_system_ms, new.counter) END AS cpu_system_ms,
      CASE WHEN own.oom_kills >= coalesce(before.oom_kills, new.counter) THEN own.oom_kills - coalesce(before.oom_kills, new.counter) END AS oom_kills,
      CASE WHEN own.read_bytes >= coalesce(before.read_bytes, new.counter) THEN own.read_bytes - coalesce(before.read_bytes, new.counter) END AS read_bytes,
      CASE WHEN own.write_bytes >= coalesce(before.write_bytes, new.counter) THEN own.write_bytes - coalesce(before.write_bytes, new.counter) END AS write_bytes,
      own.memory_bytes AS memory_bytes,
      own.memory_peak_bytes AS memory_peak_bytes,
      own.tasks AS tasks,
      own.samples AS samples,
      own.cpu_percent_max AS cpu_percent_max,
      own.memory_max_bytes AS memory_max_bytes,
      own.tasks_max AS tasks_max
    FROM system_sample AS later
      JOIN boot ON boot.id = later.boot_id
      JOIN host ON host.id = boot.host_id
      CROSS JOIN cgroup_sample AS own ON own.sample_id = later.id
      JOIN cgroup ON cgroup.id = own.cgroup_id
      -- behind the group's own row: where there is none, no look before is looked for
      LEFT JOIN system_sample AS earlier ON earlier.id = (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND cgroups_seen IS NOT NULL AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
      LEFT JOIN cgroup_sample AS before
        ON before.sample_id = own.previous_sample_id AND before.cgroup_id = own.cgroup_id
      -- without one, it counts from its start if the look before, for which it is new, was its recorder's own too
      LEFT JOIN (SELECT 0 AS counter) AS new ON own.previous_sample_id IS NULL AND iif(own.samples IS NULL,
        EXISTS (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND cgroups_seen IS NOT NULL AND recorder_id IS later.recorder_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1),
        own.samples > 0))
    """)
    )


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW system_log")
    op.execute("DROP VIEW process_log")
    op.execute("DROP VIEW system_interval")
    op.execute("DROP VIEW process_interval")
    op.execute("DROP VIEW cgroup_interval")
    op.execute("DROP VIEW gap")
    op.drop_index("ix_cgroup_gone", "cgroup")
    op.drop_index("ix_system_sample_ordinary", "system_sample")
    for table, columns in (("process_sample", PROCESS_SAMPLE_COLUMNS), ("system_sample", SYSTEM_SAMPLE_COLUMNS)):
        for name, _ in reversed(columns):
            op.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
    op.execute(
        "UPDATE cgroup_sample SET previous_sample_id = NULL"
        " WHERE previous_sample_id NOT IN (SELECT id FROM system_sample)"
    )
    _make_cgroup_sample_anew(linked=True)
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
      system_sample.forks AS forks,
      system_sample.context_switches AS context_switches,
      system_sample.oom_kills AS oom_kills,
      system_sample.tasks_running AS tasks_running,
      system_sample.tasks_blocked AS tasks_blocked,
      system_sample.cgroups_seen AS cgroups_seen,
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
      cgroup.unit AS unit,
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
      process_sample.major_faults AS major_faults,
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
      LEFT JOIN cgroup ON cgroup.id = process.cgroup_id
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
      forks,
      context_switches,
      oom_kills,
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
      CASE WHEN later.forks >= earlier.forks THEN later.forks - earlier.forks END AS forks,
      CASE WHEN later.context_switches >= earlier.context_switches THEN later.context_switches - earlier.context_switches END AS context_switches,
      CASE WHEN later.oom_kills >= earlier.oom_kills THEN later.oom_kills - earlier.oom_kills END AS oom_kills,
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
      unit,
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
      major_faults,
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
      cgroup.unit AS unit,
      round(later.uptime_seconds - previous.uptime_seconds, 3) AS sample_seconds,
      CASE WHEN own.cpu_user_ms >= coalesce(before.cpu_user_ms, new.counter) THEN own.cpu_user_ms - coalesce(before.cpu_user_ms, new.counter) END AS cpu_user_ms,
      CASE WHEN own.cpu_system_ms >= coalesce(before.cpu_system_ms, new.counter) THEN own.cpu_system_ms - coalesce(before.cpu_system_ms, new.counter) END AS cpu_system_ms,
      CASE WHEN own.children_user_ms >= coalesce(before.children_user_ms, new.counter) THEN own.children_user_ms - coalesce(before.children_user_ms, new.counter) END AS children_user_ms,
      CASE WHEN own.children_system_ms >= coalesce(before.children_system_ms, new.counter) THEN own.children_system_ms - coalesce(before.children_system_ms, new.counter) END AS children_system_ms,
      CASE WHEN own.major_faults >= coalesce(before.major_faults, new.counter) THEN own.major_faults - coalesce(before.major_faults, new.counter) END AS major_faults,
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
      LEFT JOIN cgroup ON cgroup.id = process.cgroup_id
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
    CREATE VIEW cgroup_interval AS SELECT
      taken_at,
      datetime,
      host,
      booted_at,
      sample_id,
      cgroup_id,
      path,
      unit,
      parent_id,
      seconds,
      CASE WHEN seconds >= 0.05 THEN round((cpu_user_ms + cpu_system_ms) / seconds / 10, 2)
        END AS cpu_percent,
      cpu_user_ms + cpu_system_ms AS cpu_ms,
      cpu_user_ms,
      cpu_system_ms,
      oom_kills,
      read_bytes,
      write_bytes,
      memory_bytes,
      memory_peak_bytes,
      tasks
    FROM (SELECT
      later.taken_at AS taken_at,
      later.taken_at_local AS datetime,
      host.name AS host,
      boot.booted_at AS booted_at,
      later.id AS sample_id,
      cgroup.id AS cgroup_id,
      cgroup.path AS path,
      cgroup.unit AS unit,
      cgroup.parent_id AS parent_id,
      round(later.uptime_seconds - earlier.uptime_seconds, 3) AS seconds,
      CASE WHEN own.cpu_user_ms >= coalesce(before.cpu_user_ms, new.counter) THEN own.cpu_user_ms - coalesce(before.cpu_user_ms, new.counter) END AS cpu_user_ms,
      CASE WHEN own.cpu_system_ms >= coalesce(before.cpu_system_ms, new.counter) THEN own.cpu_system_ms - coalesce(before.cpu_system_ms, new.counter) END AS cpu_system_ms,
      CASE WHEN own.oom_kills >= coalesce(before.oom_kills, new.counter) THEN own.oom_kills - coalesce(before.oom_kills, new.counter) END AS oom_kills,
      CASE WHEN own.read_bytes >= coalesce(before.read_bytes, new.counter) THEN own.read_bytes - coalesce(before.read_bytes, new.counter) END AS read_bytes,
      CASE WHEN own.write_bytes >= coalesce(before.write_bytes, new.counter) THEN own.write_bytes - coalesce(before.write_bytes, new.counter) END AS write_bytes,
      own.memory_bytes AS memory_bytes,
      own.memory_peak_bytes AS memory_peak_bytes,
      own.tasks AS tasks
    FROM system_sample AS later
      JOIN boot ON boot.id = later.boot_id
      JOIN host ON host.id = boot.host_id
      CROSS JOIN cgroup_sample AS own ON own.sample_id = later.id
      JOIN cgroup ON cgroup.id = own.cgroup_id
      -- behind the group's own row: where there is none, no look before is looked for
      LEFT JOIN system_sample AS earlier ON earlier.id = (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND cgroups_seen IS NOT NULL AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1)
      LEFT JOIN cgroup_sample AS before
        ON before.sample_id = own.previous_sample_id AND before.cgroup_id = own.cgroup_id
      -- without one, it counts from its start if the look before, for which it is new, was its recorder's own too
      LEFT JOIN (SELECT 0 AS counter) AS new ON own.previous_sample_id IS NULL
        AND EXISTS (
        SELECT id FROM system_sample
        WHERE boot_id = later.boot_id AND cgroups_seen IS NOT NULL AND recorder_id IS later.recorder_id AND (uptime_seconds, id) < (later.uptime_seconds, later.id)
        ORDER BY uptime_seconds DESC, id DESC LIMIT 1))
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
