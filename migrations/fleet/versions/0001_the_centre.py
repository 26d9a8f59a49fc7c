"""The centre of a fleet: sources, what their samples refer to, and samples as intervals.

Why: many machines in one database. Partitions are not made here, but by `perftrack fleet upkeep`.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "boot",
        sa.Column("source_id", sa.BigInteger(), nullable=False, comment="Whose: source.id."),
        sa.Column("boot_id", sa.BigInteger(), nullable=False, comment="The id there: boot.id."),
        sa.Column("host", sa.Text(), nullable=True, comment="Host name, as `hostname` prints it."),
        sa.Column(
            "key",
            sa.Text(),
            nullable=True,
            comment="Linux: /proc/sys/kernel/random/boot_id, of a recorder in a container with its namespaces. Elsewhere made from the boot time. NULL: data of the original PerformanceTrack, which did not note it.",
        ),
        sa.Column(
            "booted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the kernel started, by the clock of its first sample. NULL: not known (imported data).",
        ),
        sa.PrimaryKeyConstraint("source_id", "boot_id", name="pk_boot"),
        schema="perftrack",
        comment="One run of one kernel: from a boot to the shutdown. Counters are comparable within a boot only.",
    )
    op.create_table(
        "cgroup",
        sa.Column("source_id", sa.BigInteger(), nullable=False, comment="Whose: source.id."),
        sa.Column("cgroup_id", sa.BigInteger(), nullable=False, comment="The id there: cgroup.id."),
        sa.Column(
            "parent_id", sa.BigInteger(), nullable=True, comment="The recorded group that it is in: cgroup.cgroup_id."
        ),
        sa.Column("boot_id", sa.BigInteger(), nullable=True, comment="The run of the kernel: boot.id."),
        sa.Column(
            "path",
            sa.Text(),
            nullable=True,
            comment="Its path, as /proc/PID/cgroup has it: /system.slice/cron.service.",
        ),
        sa.Column(
            "inode",
            sa.BigInteger(),
            nullable=True,
            comment="Inode of its folder, by which it is another than an earlier one there.",
        ),
        sa.Column(
            "unit",
            sa.Text(),
            nullable=True,
            comment="What a person calls it, and those below it: a systemd unit (cron.service), a container (docker 3f2a1b0c9d8e), the sessions of a user (alice: sessions), a slice, or else its path.",
        ),
        sa.PrimaryKeyConstraint("source_id", "cgroup_id", name="pk_cgroup"),
        schema="perftrack",
        comment="A control group (version 2): a systemd unit, a container, a user's session. One that is removed and made again",
    )
    op.create_table(
        "cgroup_sample",
        sa.Column("source_id", sa.BigInteger(), nullable=False, comment="Whose: source.id."),
        sa.Column(
            "taken_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the values were read, by the machine's clock.",
        ),
        sa.Column("sample_id", sa.BigInteger(), nullable=False, comment="The sample: system_sample.sample_id."),
        sa.Column("cgroup_id", sa.BigInteger(), nullable=False, comment="The group: cgroup.cgroup_id."),
        sa.Column(
            "seconds",
            sa.Double(),
            nullable=True,
            comment="How long the interval is: from the sample before that looked at control groups. NULL: the first one.",
        ),
        sa.Column(
            "cpu_percent",
            sa.REAL(),
            nullable=True,
            comment="CPU time of all in it, in percent of one CPU. NULL: not known, or the interval is shorter than 0.05 s.",
        ),
        sa.Column("cpu_ms", sa.BigInteger(), nullable=True, comment="CPU time in the interval. NULL: not known."),
        sa.Column(
            "cpu_user_ms",
            sa.BigInteger(),
            nullable=True,
            comment="What cpu_user_ms grew by in the interval. NULL: not known, or it went backwards.",
        ),
        sa.Column(
            "cpu_system_ms",
            sa.BigInteger(),
            nullable=True,
            comment="What cpu_system_ms grew by in the interval. NULL: not known, or it went backwards.",
        ),
        sa.Column(
            "oom_kills",
            sa.BigInteger(),
            nullable=True,
            comment="What oom_kills grew by in the interval. NULL: not known, or it went backwards.",
        ),
        sa.Column(
            "read_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="What read_bytes grew by in the interval. NULL: not known, or it went backwards.",
        ),
        sa.Column(
            "write_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="What write_bytes grew by in the interval. NULL: not known, or it went backwards.",
        ),
        sa.Column(
            "memory_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="Memory that is charged to it, its part of the page cache included (memory.current). NULL: the memory controller is off in it.",
        ),
        sa.Column(
            "memory_peak_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="The most of that since it was made (memory.peak). NULL: the controller is off, or a kernel before 5.19.",
        ),
        sa.Column(
            "tasks",
            sa.BigInteger(),
            nullable=True,
            comment="Its threads (pids.current). NULL: the pids controller is off in it.",
        ),
        sa.Column("samples", sa.BigInteger(), nullable=True, comment="So many it stands for; 1: an ordinary one."),
        sa.Column(
            "cpu_percent_max",
            sa.REAL(),
            nullable=True,
            comment="The highest of cpu_percent of cgroup_interval in them. Of an ordinary row, its own. NULL: not known.",
        ),
        sa.Column(
            "memory_max_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="The most memory_bytes. Of an ordinary row, its own. NULL: not known.",
        ),
        sa.Column(
            "tasks_max",
            sa.BigInteger(),
            nullable=True,
            comment="The most tasks. Of an ordinary row, its own. NULL: not known.",
        ),
        sa.PrimaryKeyConstraint("source_id", "taken_at", "sample_id", "cgroup_id", name="pk_cgroup_sample"),
        schema="perftrack",
        comment="A control group, and all that is below it, at each sample where something had changed. Counters are what they grew by since the sample before that looked; a sample without a row of a group says that nothing has happened.",
        postgresql_partition_by="RANGE (taken_at)",
    )
    op.create_table(
        "name_filter",
        sa.Column("source_id", sa.BigInteger(), nullable=False, comment="Whose: source.id."),
        sa.Column("filter_id", sa.BigInteger(), nullable=False, comment="The id there: name_filter.id."),
        sa.Column(
            "text",
            sa.Text(),
            nullable=True,
            comment="The string that the name contains. Empty: recorded for another reason (--all, --top).",
        ),
        sa.Column(
            "rank",
            sa.BigInteger(),
            nullable=True,
            comment="0: the first string that matched. 1 and up: a further one that matched the same process in the same sample, for which the original PerformanceTrack wrote a further row (imported data only).",
        ),
        sa.PrimaryKeyConstraint("source_id", "filter_id", name="pk_name_filter"),
        schema="perftrack",
        comment="A string that selects processes by their names.",
    )
    op.create_table(
        "process",
        sa.Column("source_id", sa.BigInteger(), nullable=False, comment="Whose: source.id."),
        sa.Column("process_id", sa.BigInteger(), nullable=False, comment="The id there: process.id."),
        sa.Column(
            "unit",
            sa.Text(),
            nullable=True,
            comment="What its control group belongs to: a systemd unit, a container, a session.",
        ),
        sa.Column("boot_id", sa.BigInteger(), nullable=True, comment="The run of the kernel: boot.id."),
        sa.Column("pid", sa.BigInteger(), nullable=True, comment="Process ID."),
        sa.Column(
            "started_ticks",
            sa.BigInteger(),
            nullable=True,
            comment="Start time as clock ticks since boot (Linux: /proc/PID/stat, starttime), which a clock step does not change; elsewhere as hundredths of a second since 1970. NULL: not known (imported data).",
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it started, by the clock of its first sample. NULL: not known.",
        ),
        sa.Column(
            "name",
            sa.Text(),
            nullable=True,
            comment="Name that the kernel gave it, in full where its program's file is called so; the first one where it changes its name itself. *** for the values of passwords.",
        ),
        sa.Column(
            "ppid",
            sa.BigInteger(),
            nullable=True,
            comment="Process ID of its parent at its first sample. NULL: not known.",
        ),
        sa.Column(
            "username",
            sa.Text(),
            nullable=True,
            comment="Its real user's name, or number if that has no name. NULL: refused or not known.",
        ),
        sa.Column(
            "command",
            sa.Text(),
            nullable=True,
            comment="Command line at its first sample, arguments joined by spaces, cut after 4096 bytes (then it ends in …), *** for the values of passwords; empty for a kernel thread. NULL: refused or not known, or not asked for (record_command).",
        ),
        sa.PrimaryKeyConstraint("source_id", "process_id", name="pk_process"),
        schema="perftrack",
        comment="A process: one program in one process ID. A reused ID is another row, and so is the same ID after exec.",
    )
    op.create_table(
        "process_sample",
        sa.Column("source_id", sa.BigInteger(), nullable=False, comment="Whose: source.id."),
        sa.Column(
            "taken_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the values were read, by the machine's clock.",
        ),
        sa.Column("sample_id", sa.BigInteger(), nullable=False, comment="The sample: system_sample.sample_id."),
        sa.Column("process_id", sa.BigInteger(), nullable=False, comment="The process: process.process_id."),
        sa.Column("filter_id", sa.BigInteger(), nullable=True, comment="Why it was recorded: name_filter.filter_id."),
        sa.Column(
            "seconds",
            sa.Double(),
            nullable=True,
            comment="How long its interval is: from its own previous sample, or from its start where it began since its recorder's previous one. NULL: it has neither, so what it used is not known.",
        ),
        sa.Column(
            "cpu_percent",
            sa.REAL(),
            nullable=True,
            comment="CPU time in percent of one CPU. No more than its threads could use: what rounding and the order in which processes are read add to that is taken off. NULL: not known, or the interval is shorter than 0.05 s: counters move in steps of 10 ms.",
        ),
        sa.Column("cpu_ms", sa.BigInteger(), nullable=True, comment="CPU time in the interval. NULL: not known."),
        sa.Column(
            "cpu_user_ms",
            sa.BigInteger(),
            nullable=True,
            comment="What cpu_user_ms grew by in the interval. NULL: not known, or it went backwards.",
        ),
        sa.Column(
            "cpu_system_ms",
            sa.BigInteger(),
            nullable=True,
            comment="What cpu_system_ms grew by in the interval. NULL: not known, or it went backwards.",
        ),
        sa.Column(
            "children_user_ms",
            sa.BigInteger(),
            nullable=True,
            comment="What children_user_ms grew by in the interval. NULL: not known, or it went backwards.",
        ),
        sa.Column(
            "children_system_ms",
            sa.BigInteger(),
            nullable=True,
            comment="What children_system_ms grew by in the interval. NULL: not known, or it went backwards.",
        ),
        sa.Column(
            "major_faults",
            sa.BigInteger(),
            nullable=True,
            comment="What major_faults grew by in the interval. NULL: not known, or it went backwards.",
        ),
        sa.Column(
            "read_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="What read_bytes grew by in the interval. NULL: not known, or it went backwards.",
        ),
        sa.Column(
            "write_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="What write_bytes grew by in the interval. NULL: not known, or it went backwards.",
        ),
        sa.Column(
            "own_read_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="What of read_bytes is certainly its own. NULL: not known.",
        ),
        sa.Column(
            "own_write_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="What of write_bytes is certainly its own. NULL: not known.",
        ),
        sa.Column(
            "rss_bytes", sa.BigInteger(), nullable=True, comment="Resident memory (psutil: rss). NULL: refused."
        ),
        sa.Column("vms_bytes", sa.BigInteger(), nullable=True, comment="Address space (psutil: vms). NULL: refused."),
        sa.Column("num_threads", sa.BigInteger(), nullable=True, comment="Threads. NULL: refused."),
        sa.Column(
            "uss_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="Memory of its own that would be freed if it ended (psutil: uss). NULL: not asked for (memory_detail) or refused.",
        ),
        sa.Column(
            "pss_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="Its own memory and its share of what it shares (psutil: pss). NULL: not asked for, refused, or not on this system.",
        ),
        sa.Column(
            "swap_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="Its memory in swap (psutil: swap). NULL: not asked for, refused, or not on this system.",
        ),
        sa.Column("samples", sa.BigInteger(), nullable=True, comment="So many it stands for; 1: an ordinary one."),
        sa.Column(
            "cpu_percent_max",
            sa.REAL(),
            nullable=True,
            comment="The highest of cpu_percent of process_interval in them. Of an ordinary row, its own. NULL: not known.",
        ),
        sa.Column(
            "rss_max_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="The most rss_bytes. Of an ordinary row, its own. NULL: not known.",
        ),
        sa.Column(
            "num_threads_max",
            sa.BigInteger(),
            nullable=True,
            comment="The most num_threads. Of an ordinary row, its own. NULL: not known.",
        ),
        sa.PrimaryKeyConstraint("source_id", "taken_at", "sample_id", "process_id", name="pk_process_sample"),
        schema="perftrack",
        comment="A recorded process at each sample, and what it used since its own previous one. Counters are what they grew by.",
        postgresql_partition_by="RANGE (taken_at)",
    )
    op.create_table(
        "source",
        sa.Column("id", sa.BigInteger(), nullable=False, comment="Key."),
        sa.Column("uuid", sa.Uuid(), nullable=False, comment="That of the database, or made from it where forked."),
        sa.Column("role", sa.Text(), nullable=False, comment="The login role that it belongs to."),
        sa.Column("machine", sa.Text(), nullable=True, comment="The machine-id, hashed. NULL: not known."),
        sa.Column("host", sa.Text(), nullable=True, comment="What the machine is called, at its last ship."),
        sa.Column("version", sa.Text(), nullable=True, comment="The version of perftrack that shipped last."),
        sa.Column(
            "position",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="The last sample that is here.",
        ),
        sa.Column(
            "fingerprint", sa.Uuid(), nullable=True, comment="What identifies that sample. NULL: there is none."
        ),
        sa.Column(
            "taken_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When that was taken, by the machine's clock.",
        ),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When that came. NULL: nothing came yet.",
        ),
        sa.Column(
            "seen_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it shipped last, also where nothing was new.",
        ),
        sa.Column(
            "skew_seconds",
            sa.Double(),
            nullable=True,
            comment="How far this clock is before the machine's, the way included.",
        ),
        sa.Column(
            "forked_from",
            sa.BigInteger(),
            nullable=True,
            comment="The source whose samples up to fork_position are its own too.",
        ),
        sa.Column("fork_position", sa.BigInteger(), nullable=True, comment="The last sample that both have."),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("uuid"),
        schema="perftrack",
        comment="One database's history.",
    )
    op.create_index("ix_source_forked_from", "source", ["forked_from"], unique=False, schema="perftrack")
    op.create_table(
        "system_sample",
        sa.Column("source_id", sa.BigInteger(), nullable=False, comment="Whose: source.id."),
        sa.Column(
            "taken_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the values were read, by the machine's clock.",
        ),
        sa.Column("sample_id", sa.BigInteger(), nullable=False, comment="The sample: system_sample.sample_id."),
        sa.Column("boot_id", sa.BigInteger(), nullable=False, comment="The run of the kernel: boot.boot_id."),
        sa.Column("seconds", sa.Double(), nullable=True, comment="How long the interval is, by the time since boot."),
        sa.Column(
            "cpu_percent",
            sa.REAL(),
            nullable=True,
            comment="Busy time (all but idle and iowait) of all CPUs together in the window, 0 to 100. NULL: no window.",
        ),
        sa.Column("cpu_ms", sa.BigInteger(), nullable=True, comment="What all CPUs worked. NULL: not known."),
        sa.Column(
            "cpu_user_ms",
            sa.BigInteger(),
            nullable=True,
            comment="Counter, all CPUs: user and nice time, guests included. NULL: imported data.",
        ),
        sa.Column(
            "cpu_system_ms",
            sa.BigInteger(),
            nullable=True,
            comment="Counter, all CPUs: kernel time, interrupts included. NULL: imported data.",
        ),
        sa.Column(
            "cpu_idle_ms", sa.BigInteger(), nullable=True, comment="Counter, all CPUs: idle. NULL: imported data."
        ),
        sa.Column(
            "cpu_iowait_ms",
            sa.BigInteger(),
            nullable=True,
            comment="Counter, all CPUs: idle while a disk request was pending. NULL: not on this system.",
        ),
        sa.Column(
            "cpu_steal_ms",
            sa.BigInteger(),
            nullable=True,
            comment="Counter, all CPUs: time the hypervisor gave to others. NULL: not on this system.",
        ),
        sa.Column(
            "disk_read_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="Counter: read from all disks, as `sar -b` adds them up on Linux: whole disks that are hardware, and not again the devices of LVM, LUKS, RAID, loop and RAM on top of them, which `sar -d` lists too. Where there is no hardware (a container), all but loop devices. NULL: none seen, or not known.",
        ),
        sa.Column(
            "disk_write_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="Counter: written to all disks, added up likewise. NULL: none seen, or not known.",
        ),
        sa.Column(
            "net_sent_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="Counter: sent over all network interfaces, loopback included. NULL: none seen, or not known.",
        ),
        sa.Column(
            "net_received_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="Counter: received over all network interfaces. NULL: none seen, or not known.",
        ),
        sa.Column(
            "pressure_cpu_ms",
            sa.BigInteger(),
            nullable=True,
            comment="Counter: time in which some task waited for a CPU (Linux /proc/pressure/cpu, some). NULL: not on this system.",
        ),
        sa.Column(
            "pressure_memory_ms",
            sa.BigInteger(),
            nullable=True,
            comment="Counter: time in which some task waited for memory (/proc/pressure/memory, some). NULL: not on this system.",
        ),
        sa.Column(
            "pressure_io_ms",
            sa.BigInteger(),
            nullable=True,
            comment="Counter: time in which some task waited for a disk (/proc/pressure/io, some). NULL: not on this system.",
        ),
        sa.Column(
            "forks",
            sa.BigInteger(),
            nullable=True,
            comment="Counter: processes and threads that were started (proc_stat(5), processes). NULL: not known.",
        ),
        sa.Column(
            "context_switches",
            sa.BigInteger(),
            nullable=True,
            comment="Counter: how often a CPU went from one thread to another (proc_stat(5), ctxt). NULL: not known.",
        ),
        sa.Column(
            "oom_kills",
            sa.BigInteger(),
            nullable=True,
            comment="Counter: processes that the kernel killed for want of memory (/proc/vmstat, oom_kill). NULL: not on this system.",
        ),
        sa.Column(
            "cpu_count",
            sa.BigInteger(),
            nullable=True,
            comment="Logical CPUs online. NULL: not known (imported data).",
        ),
        sa.Column("load_1min", sa.REAL(), nullable=True, comment="Load average over 1 minute. NULL: not known."),
        sa.Column("load_5min", sa.REAL(), nullable=True, comment="Load average over 5 minutes. NULL: not known."),
        sa.Column("load_15min", sa.REAL(), nullable=True, comment="Load average over 15 minutes. NULL: not known."),
        sa.Column(
            "mem_used_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="Memory in use (psutil: used; on Linux total less available). NULL: not known.",
        ),
        sa.Column("swap_used_bytes", sa.BigInteger(), nullable=True, comment="Swap space in use. NULL: not known."),
        sa.Column(
            "tasks_running",
            sa.BigInteger(),
            nullable=True,
            comment="Threads that ran or waited for a CPU, the recorder itself included (proc_stat(5), procs_running). NULL: not on this system.",
        ),
        sa.Column(
            "tasks_blocked",
            sa.BigInteger(),
            nullable=True,
            comment="Threads that waited for a disk (proc_stat(5), procs_blocked). NULL: not on this system.",
        ),
        sa.Column(
            "samples",
            sa.BigInteger(),
            nullable=True,
            comment="So many samples of this boot this row stands for, itself and those before it that were condensed into it (`perftrack purge`, keep_every_sample). 0: it only is what later ones are compared with. NULL: an ordinary one.",
        ),
        sa.Column(
            "cpu_percent_max",
            sa.REAL(),
            nullable=True,
            comment="The highest of cpu_percent of system_interval in them. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "load_1min_max",
            sa.REAL(),
            nullable=True,
            comment="The highest load_1min. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "load_5min_max",
            sa.REAL(),
            nullable=True,
            comment="The highest load_5min. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "load_15min_max",
            sa.REAL(),
            nullable=True,
            comment="The highest load_15min. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "mem_used_max_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="The most mem_used_bytes. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "swap_used_max_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="The most swap_used_bytes. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "disk_read_max_bytes_per_second",
            sa.REAL(),
            nullable=True,
            comment="The most that was read from disks in one of their intervals. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "disk_write_max_bytes_per_second",
            sa.REAL(),
            nullable=True,
            comment="The most that was written to disks. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "net_sent_max_bytes_per_second",
            sa.REAL(),
            nullable=True,
            comment="The most that was sent. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "net_received_max_bytes_per_second",
            sa.REAL(),
            nullable=True,
            comment="The most that was received. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "pressure_cpu_max_percent",
            sa.REAL(),
            nullable=True,
            comment="The largest part of an interval in which some task waited for a CPU. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "pressure_memory_max_percent",
            sa.REAL(),
            nullable=True,
            comment="The same for memory. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "pressure_io_max_percent",
            sa.REAL(),
            nullable=True,
            comment="The same for a disk. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "forks_max_per_second",
            sa.REAL(),
            nullable=True,
            comment="The most processes and threads that were started in a second of an interval. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "tasks_running_max",
            sa.BigInteger(),
            nullable=True,
            comment="The most tasks_running. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "tasks_blocked_max",
            sa.BigInteger(),
            nullable=True,
            comment="The most tasks_blocked. NULL: as `samples`, or not known.",
        ),
        sa.Column(
            "uptime_seconds",
            sa.Double(),
            nullable=True,
            comment="Time since boot, suspend included; never steps with the clock. NULL: imported data.",
        ),
        sa.Column(
            "listed_uptime_seconds",
            sa.Double(),
            nullable=True,
            comment="uptime_seconds when the list of processes was read: a process that began later is in the next sample first. NULL: imported data, or not noted yet.",
        ),
        sa.Column(
            "read_uptime_seconds",
            sa.Double(),
            nullable=True,
            comment="uptime_seconds when the last process had been read; each was read between uptime_seconds and this. NULL: imported data, or not noted yet.",
        ),
        sa.Column(
            "window_seconds",
            sa.Double(),
            nullable=True,
            comment="The span that the percentages were measured over. NULL: there was none (with cpu_window = 0 the first sample after a boot), or imported data.",
        ),
        sa.Column("mem_total_bytes", sa.BigInteger(), nullable=True, comment="Physical memory. NULL: not known."),
        sa.Column(
            "mem_available_bytes",
            sa.BigInteger(),
            nullable=True,
            comment="Memory that programs can get without swapping (psutil: available). NULL: not known.",
        ),
        sa.Column("swap_total_bytes", sa.BigInteger(), nullable=True, comment="Swap space. NULL: not known."),
        sa.Column(
            "cgroups_seen",
            sa.BigInteger(),
            nullable=True,
            comment="Control groups that were looked at. NULL: the recorder did not look at them, or there are none of version 2.",
        ),
        sa.Column(
            "processes_seen",
            sa.BigInteger(),
            nullable=True,
            comment="Processes that the recorder could see, recorded or not, itself not counted. NULL: imported data.",
        ),
        sa.Column(
            "processes_denied",
            sa.BigInteger(),
            nullable=True,
            comment="Recorded processes of which some field was refused to the recorder, and processes that were refused altogether. NULL: imported data.",
        ),
        sa.Column(
            "recorder_cpu_ms",
            sa.BigInteger(),
            nullable=True,
            comment="CPU time that this sample cost, from the start of the program (in a loop: from the end of the sample before) until it was ready to be written. NULL: imported data.",
        ),
        sa.Column(
            "taken_at_local",
            postgresql.TIMESTAMP(),
            nullable=True,
            comment="The same as the machine's wall clock showed it.",
        ),
        sa.Column("fingerprint", sa.Uuid(), nullable=False, comment="A hash of what identifies the sample."),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="When it came.",
        ),
        sa.PrimaryKeyConstraint("source_id", "taken_at", "sample_id", name="pk_system_sample"),
        schema="perftrack",
        comment="The machine from one sample to the next of the same boot. Counters are what they grew by.",
        postgresql_partition_by="RANGE (taken_at)",
    )
    op.create_index(
        "ix_system_sample_boot_id",
        "system_sample",
        ["source_id", "boot_id", "uptime_seconds"],
        unique=False,
        schema="perftrack",
    )
    op.create_index(
        "ix_system_sample_sample_id", "system_sample", ["source_id", "sample_id"], unique=False, schema="perftrack"
    )


def downgrade() -> None:
    """Take back."""
    op.drop_index("ix_system_sample_sample_id", table_name="system_sample", schema="perftrack")
    op.drop_index("ix_system_sample_boot_id", table_name="system_sample", schema="perftrack")
    op.drop_table("system_sample", schema="perftrack")
    op.drop_index("ix_source_forked_from", table_name="source", schema="perftrack")
    op.drop_table("source", schema="perftrack")
    op.drop_table("process_sample", schema="perftrack")
    op.drop_table("process", schema="perftrack")
    op.drop_table("name_filter", schema="perftrack")
    op.drop_table("cgroup_sample", schema="perftrack")
    op.drop_table("cgroup", schema="perftrack")
    op.drop_table("boot", schema="perftrack")
