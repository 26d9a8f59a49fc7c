"""Tables and views.

Why: the first schema; perftrack/storage/models.py says what each column means.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

APPLICATION_ID = 0x70657266  # "perf", by which perftrack knows its own files


def upgrade() -> None:
    """Apply."""
    op.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    op.create_table(
        "host",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_host")),
        sa.UniqueConstraint("name", name=op.f("uq_host_name")),
    )
    op.create_table(
        "name_filter",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_name_filter")),
        sa.UniqueConstraint("text", "rank", name=op.f("uq_name_filter_text")),
    )
    op.create_table(
        "boot",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("booted_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["host_id"], ["host.id"], name=op.f("fk_boot_host_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_boot")),
        sa.UniqueConstraint("host_id", "key", name=op.f("uq_boot_host_id")),
    )
    op.create_table(
        "process",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("boot_id", sa.Integer(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_ticks", sa.Integer(), nullable=True),
        sa.Column("started_at", sa.DateTime(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ppid", sa.Integer(), nullable=True),
        sa.Column("username", sa.Text(), nullable=True),
        sa.Column("command", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["boot_id"], ["boot.id"], name=op.f("fk_process_boot_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_process")),
        sa.UniqueConstraint("boot_id", "pid", "started_ticks", "name", name=op.f("uq_process_boot_id")),
    )
    op.create_table(
        "system_sample",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("boot_id", sa.Integer(), nullable=False),
        sa.Column("taken_at", sa.DateTime(), nullable=False),
        sa.Column("taken_at_local", sa.DateTime(), nullable=False),
        sa.Column("uptime_seconds", sa.Float(), nullable=True),
        sa.Column("window_seconds", sa.Float(), nullable=True),
        sa.Column("cpu_percent", sa.Float(), nullable=True),
        sa.Column("cpu_user_ms", sa.Integer(), nullable=True),
        sa.Column("cpu_system_ms", sa.Integer(), nullable=True),
        sa.Column("cpu_idle_ms", sa.Integer(), nullable=True),
        sa.Column("cpu_iowait_ms", sa.Integer(), nullable=True),
        sa.Column("cpu_steal_ms", sa.Integer(), nullable=True),
        sa.Column("cpu_count", sa.Integer(), nullable=True),
        sa.Column("load_1min", sa.Float(), nullable=True),
        sa.Column("load_5min", sa.Float(), nullable=True),
        sa.Column("load_15min", sa.Float(), nullable=True),
        sa.Column("mem_total_bytes", sa.Integer(), nullable=True),
        sa.Column("mem_available_bytes", sa.Integer(), nullable=True),
        sa.Column("mem_used_bytes", sa.Integer(), nullable=True),
        sa.Column("swap_total_bytes", sa.Integer(), nullable=True),
        sa.Column("swap_used_bytes", sa.Integer(), nullable=True),
        sa.Column("disk_read_bytes", sa.Integer(), nullable=True),
        sa.Column("disk_write_bytes", sa.Integer(), nullable=True),
        sa.Column("net_sent_bytes", sa.Integer(), nullable=True),
        sa.Column("net_received_bytes", sa.Integer(), nullable=True),
        sa.Column("pressure_cpu_ms", sa.Integer(), nullable=True),
        sa.Column("pressure_memory_ms", sa.Integer(), nullable=True),
        sa.Column("pressure_io_ms", sa.Integer(), nullable=True),
        sa.Column("processes_seen", sa.Integer(), nullable=True),
        sa.Column("processes_denied", sa.Integer(), nullable=True),
        sa.Column("recorder_cpu_ms", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["boot_id"], ["boot.id"], name=op.f("fk_system_sample_boot_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_system_sample")),
    )
    op.create_index(op.f("ix_system_sample_taken_at"), "system_sample", ["taken_at", "boot_id"], unique=True)
    op.create_index(op.f("ix_system_sample_taken_at_local"), "system_sample", ["taken_at_local"])

    op.create_table(
        "process_sample",
        sa.Column("sample_id", sa.Integer(), nullable=False),
        sa.Column("process_id", sa.Integer(), nullable=False),
        sa.Column("filter_id", sa.Integer(), nullable=False),
        sa.Column("cpu_percent", sa.Float(), nullable=True),
        sa.Column("cpu_user_ms", sa.Integer(), nullable=True),
        sa.Column("cpu_system_ms", sa.Integer(), nullable=True),
        sa.Column("rss_bytes", sa.Integer(), nullable=True),
        sa.Column("vms_bytes", sa.Integer(), nullable=True),
        sa.Column("num_threads", sa.Integer(), nullable=True),
        sa.Column("read_bytes", sa.Integer(), nullable=True),
        sa.Column("write_bytes", sa.Integer(), nullable=True),
        sa.Column("uss_bytes", sa.Integer(), nullable=True),
        sa.Column("pss_bytes", sa.Integer(), nullable=True),
        sa.Column("swap_bytes", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["filter_id"], ["name_filter.id"], name=op.f("fk_process_sample_filter_id")),
        sa.ForeignKeyConstraint(["process_id"], ["process.id"], name=op.f("fk_process_sample_process_id")),
        sa.ForeignKeyConstraint(["sample_id"], ["system_sample.id"], name=op.f("fk_process_sample_sample_id")),
        sa.PrimaryKeyConstraint("sample_id", "process_id", "filter_id", name=op.f("pk_process_sample")),
        sqlite_with_rowid=False,
    )
    op.execute("""
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
    op.execute("""
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


def downgrade() -> None:
    """Take back."""
    op.execute("DROP VIEW system_log")
    op.execute("DROP VIEW process_log")
    op.drop_table("process_sample")
    op.drop_table("system_sample")
    op.drop_table("process")
    op.drop_table("boot")
    op.drop_table("name_filter")
    op.drop_table("host")
