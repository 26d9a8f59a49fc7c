"""The tables: name, type, unit, meaning and NULL of every column, and the only place where they are written down.

Everything else derives from here: migrations, the tick's INSERTs, views, the README's table of columns.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import (
    Column,
    DateTime,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeEngine

# What may be condensed and is not yet. Imported data never is.
ORDINARY = "samples IS NULL AND uptime_seconds IS NOT NULL"


class Base(DeclarativeBase):
    """Declarative base; named constraints, so that a later migration can refer to them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_name)s",
            "uq": "uq_%(table_name)s_%(column_0_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


def columns_of(model: type[Base]) -> list[Column[Any]]:
    """Return the columns of the table of *model*."""
    table = model.__table__
    assert isinstance(table, Table)
    return list(table.columns)


def _unit(unit: str, kind: type[TypeEngine[Any]]) -> object:
    return mapped_column(kind, info={"unit": unit})


def _largest(of: str, unit: str, kind: type[TypeEngine[Any]], doc: str, per_second: float | None = None) -> Any:
    """Declare the largest value of *of* in the samples that a row stands for: a column, or one of the interval view.

    *per_second*: of a counter, what its growth in a second is multiplied with.
    """
    info = {"unit": unit, "largest_of": of, "per_second": per_second, "is_of_condensing": True}
    return mapped_column(kind, info=info, doc=f"{doc} NULL: as `samples`, or not known.")


def _stands_for(of: str) -> Any:
    """Declare the number of samples that a row stands for. *of*: what each of them is."""
    return mapped_column(
        Integer,
        info={"unit": "count", "is_of_condensing": True},
        doc=f"So many {of} this row stands for, itself and those before it that were condensed into it (`perftrack "
        "purge`, keep_every_sample). 0: it only is what later ones are compared with. NULL: an ordinary one.",
    )


Id = Annotated[int, mapped_column(Integer, info={"unit": "id"})]
Count = Annotated[int, _unit("count", Integer)]
Bytes = Annotated[int, _unit("bytes", Integer)]
Milliseconds = Annotated[int, _unit("ms", Integer)]
# Counters are cumulative, as the kernel gives them; what they grew by between two samples is in the interval views.
CounterBytes = Annotated[int, mapped_column(Integer, info={"unit": "bytes", "counter": True})]
CounterMilliseconds = Annotated[int, mapped_column(Integer, info={"unit": "ms", "counter": True})]
Counter = Annotated[int, mapped_column(Integer, info={"unit": "count", "counter": True})]
Ticks = Annotated[int, _unit("1/100 s", Integer)]
Seconds = Annotated[float, _unit("s", Float)]
Percent = Annotated[float, _unit("%", Float)]
Load = Annotated[float, _unit("processes", Float)]
String = Annotated[str, _unit("text", Text)]
# Instants are text, "2026-11-20 14:30:05.123456", which sorts by time and reads well at a sqlite3 prompt.
UtcInstant = Annotated[datetime, _unit("UTC", DateTime)]
LocalInstant = Annotated[datetime, _unit("local time", DateTime)]


class Source(Base):
    """The database itself, by which what comes from it is known: one row. A copy of it has the same."""

    __tablename__ = "source"

    id: Mapped[Id] = mapped_column(primary_key=True, doc="Key.")
    uuid: Mapped[String] = mapped_column(unique=True, doc="Random, made with the database.")
    made_at: Mapped[UtcInstant] = mapped_column(doc="When it was made, or upgraded from before there was this row.")
    # What `perftrack ship` leaves behind. A hint: the centre alone knows how far it is.
    shipped_sample_id: Mapped[Id | None] = mapped_column(
        doc="The last sample that the centre of the fleet is known to have. No foreign key: it may be condensed or "
        "removed here. NULL: nothing was shipped."
    )
    shipped_at: Mapped[UtcInstant | None] = mapped_column(
        doc="When the centre last said so, also where nothing was new. NULL: never."
    )
    ship_failed_at: Mapped[UtcInstant | None] = mapped_column(
        doc="When `perftrack ship` last failed. NULL: it has not since shipped_at."
    )
    ship_failure: Mapped[String | None] = mapped_column(doc="What it said then. NULL: as ship_failed_at.")


class Host(Base):
    """A machine. Within a boot its name may change: then this one does."""

    __tablename__ = "host"

    id: Mapped[Id] = mapped_column(primary_key=True, doc="Key.")
    name: Mapped[String] = mapped_column(unique=True, doc="Host name, as `hostname` prints it.")


class Boot(Base):
    """One run of one kernel: from a boot to the shutdown. Counters are comparable within a boot only."""

    __tablename__ = "boot"
    __table_args__ = (UniqueConstraint("host_id", "key"),)

    id: Mapped[Id] = mapped_column(primary_key=True, doc="Key.")
    host_id: Mapped[Id] = mapped_column(ForeignKey("host.id"), doc="The machine: host.id.")
    key: Mapped[String | None] = mapped_column(
        doc="Linux: /proc/sys/kernel/random/boot_id, of a recorder in a container with its namespaces. Elsewhere "
        "made from the boot time. "
        "NULL: data of the original PerformanceTrack, which did not note it."
    )
    booted_at: Mapped[UtcInstant | None] = mapped_column(
        doc="When the kernel started, by the clock of its first sample. NULL: not known (imported data)."
    )


class Recorder(Base):
    """Who takes samples, and of which processes: one schedule, or a person who records by hand."""

    __tablename__ = "recorder"
    __table_args__ = (UniqueConstraint("username", "selection"),)

    id: Mapped[Id] = mapped_column(primary_key=True, doc="Key.")
    username: Mapped[String] = mapped_column(doc="The user that it runs as.")
    selection: Mapped[String] = mapped_column(
        doc="The processes that it records, as options of `perftrack record`: --filter java --filter python --top 5."
    )


class DeviceSet(Base):
    """The devices whose counters are added up in a sample, disks or network interfaces. One that comes later counts
    from 0; what one had counted is missing in the sum from when it is gone.
    """

    __tablename__ = "device_set"

    id: Mapped[Id] = mapped_column(primary_key=True, doc="Key.")
    names: Mapped[String] = mapped_column(
        unique=True,
        doc="Their names with spaces between, on Linux each with the inode of its folder in /sys, by which a device "
        "is another than an earlier one of its name: sda:4711 sdb:4712.",
    )


class SystemSample(Base):
    """The machine as a whole at one instant. Counters are cumulative since boot, as the kernel gives them."""

    __tablename__ = "system_sample"
    __table_args__ = (
        Index(None, "taken_at", "boot_id", unique=True),
        Index(None, "taken_at_local"),
        Index(None, "boot_id", "uptime_seconds"),  # finds the sample before, whatever the clock did
        Index("ix_system_sample_ordinary", "taken_at", sqlite_where=text(ORDINARY)),  # finds what is to be condensed
    )

    id: Mapped[Id] = mapped_column(primary_key=True, doc="Key.")
    boot_id: Mapped[Id] = mapped_column(ForeignKey("boot.id"), doc="The run of the kernel: boot.id.")
    taken_at: Mapped[UtcInstant] = mapped_column(doc="When the values were read: the end of the window.")
    taken_at_local: Mapped[LocalInstant] = mapped_column(
        doc="The same instant as that machine's wall clock showed it."
    )
    uptime_seconds: Mapped[Seconds | None] = mapped_column(
        doc="Time since boot, suspend included; never steps with the clock. NULL: imported data."
    )
    recorder_id: Mapped[Id | None] = mapped_column(
        ForeignKey("recorder.id"), doc="Who took it: recorder.id. NULL: imported data, or not noted yet."
    )
    listed_uptime_seconds: Mapped[Seconds | None] = mapped_column(
        doc="uptime_seconds when the list of processes was read: a process that began later is in the next sample "
        "first. NULL: imported data, or not noted yet."
    )
    read_uptime_seconds: Mapped[Seconds | None] = mapped_column(
        doc="uptime_seconds when the last process had been read; each was read between uptime_seconds and this. "
        "NULL: imported data, or not noted yet."
    )
    window_seconds: Mapped[Seconds | None] = mapped_column(
        doc="The span that the percentages were measured over. NULL: there was none (with cpu_window = 0 the "
        "first sample after a boot), or imported data."
    )
    cpu_percent: Mapped[Percent | None] = mapped_column(
        doc="Busy time (all but idle and iowait) of all CPUs together in the window, 0 to 100. NULL: no window."
    )
    cpu_user_ms: Mapped[CounterMilliseconds | None] = mapped_column(
        doc="Counter, all CPUs: user and nice time, guests included. NULL: imported data."
    )
    cpu_system_ms: Mapped[CounterMilliseconds | None] = mapped_column(
        doc="Counter, all CPUs: kernel time, interrupts included. NULL: imported data."
    )
    cpu_idle_ms: Mapped[CounterMilliseconds | None] = mapped_column(
        doc="Counter, all CPUs: idle. NULL: imported data."
    )
    cpu_iowait_ms: Mapped[CounterMilliseconds | None] = mapped_column(
        doc="Counter, all CPUs: idle while a disk request was pending. NULL: not on this system."
    )
    cpu_steal_ms: Mapped[CounterMilliseconds | None] = mapped_column(
        doc="Counter, all CPUs: time the hypervisor gave to others. NULL: not on this system."
    )
    cpu_count: Mapped[Count | None] = mapped_column(doc="Logical CPUs online. NULL: not known (imported data).")
    load_1min: Mapped[Load | None] = mapped_column(doc="Load average over 1 minute. NULL: not known.")
    load_5min: Mapped[Load | None] = mapped_column(doc="Load average over 5 minutes. NULL: not known.")
    load_15min: Mapped[Load | None] = mapped_column(doc="Load average over 15 minutes. NULL: not known.")
    mem_total_bytes: Mapped[Bytes | None] = mapped_column(doc="Physical memory. NULL: not known.")
    mem_available_bytes: Mapped[Bytes | None] = mapped_column(
        doc="Memory that programs can get without swapping (psutil: available). NULL: not known."
    )
    mem_used_bytes: Mapped[Bytes | None] = mapped_column(
        doc="Memory in use (psutil: used; on Linux total less available). NULL: not known."
    )
    swap_total_bytes: Mapped[Bytes | None] = mapped_column(doc="Swap space. NULL: not known.")
    swap_used_bytes: Mapped[Bytes | None] = mapped_column(doc="Swap space in use. NULL: not known.")
    disk_set_id: Mapped[Id | None] = mapped_column(
        ForeignKey("device_set.id"),
        info={"unit": "id", "devices_of": ("disk_read_bytes", "disk_write_bytes")},
        doc="The disks that are added up: device_set.id. NULL: none seen, or not noted.",
    )
    disk_read_bytes: Mapped[CounterBytes | None] = mapped_column(
        doc="Counter: read from all disks, as `sar -b` adds them up on Linux: whole disks that are hardware, and not "
        "again the devices of LVM, LUKS, RAID, loop and RAM on top of them, which `sar -d` lists too. Where there is "
        "no hardware (a container), all but loop devices. NULL: none seen, or not known."
    )
    disk_write_bytes: Mapped[CounterBytes | None] = mapped_column(
        doc="Counter: written to all disks, added up likewise. NULL: none seen, or not known."
    )
    net_set_id: Mapped[Id | None] = mapped_column(
        ForeignKey("device_set.id"),
        info={"unit": "id", "devices_of": ("net_sent_bytes", "net_received_bytes")},
        doc="The network interfaces that are added up: device_set.id. NULL: none seen, or not noted.",
    )
    net_sent_bytes: Mapped[CounterBytes | None] = mapped_column(
        doc="Counter: sent over all network interfaces, loopback included. NULL: none seen, or not known."
    )
    net_received_bytes: Mapped[CounterBytes | None] = mapped_column(
        doc="Counter: received over all network interfaces. NULL: none seen, or not known."
    )
    pressure_cpu_ms: Mapped[CounterMilliseconds | None] = mapped_column(
        doc="Counter: time in which some task waited for a CPU (Linux /proc/pressure/cpu, some). "
        "NULL: not on this system."
    )
    pressure_memory_ms: Mapped[CounterMilliseconds | None] = mapped_column(
        doc="Counter: time in which some task waited for memory (/proc/pressure/memory, some). "
        "NULL: not on this system."
    )
    pressure_io_ms: Mapped[CounterMilliseconds | None] = mapped_column(
        doc="Counter: time in which some task waited for a disk (/proc/pressure/io, some). NULL: not on this system."
    )
    forks: Mapped[Counter | None] = mapped_column(
        doc="Counter: processes and threads that were started (proc_stat(5), processes). NULL: not known."
    )
    context_switches: Mapped[Counter | None] = mapped_column(
        doc="Counter: how often a CPU went from one thread to another (proc_stat(5), ctxt). NULL: not known."
    )
    oom_kills: Mapped[Counter | None] = mapped_column(
        doc="Counter: processes that the kernel killed for want of memory (/proc/vmstat, oom_kill). "
        "NULL: not on this system."
    )
    tasks_running: Mapped[Count | None] = mapped_column(
        doc="Threads that ran or waited for a CPU, the recorder itself included (proc_stat(5), procs_running). "
        "NULL: not on this system."
    )
    tasks_blocked: Mapped[Count | None] = mapped_column(
        doc="Threads that waited for a disk (proc_stat(5), procs_blocked). NULL: not on this system."
    )
    cgroups_seen: Mapped[Count | None] = mapped_column(
        doc="Control groups that were looked at. NULL: the recorder did not look at them, or there are none of "
        "version 2."
    )
    processes_seen: Mapped[Count | None] = mapped_column(
        doc="Processes that the recorder could see, recorded or not, itself not counted. NULL: imported data."
    )
    processes_denied: Mapped[Count | None] = mapped_column(
        doc="Recorded processes of which some field was refused to the recorder, and processes that were refused "
        "altogether. NULL: imported data."
    )
    recorder_cpu_ms: Mapped[Milliseconds | None] = mapped_column(
        doc="CPU time that this sample cost, from the start of the program (in a loop: from the end of the "
        "sample before) until it was ready to be written. NULL: imported data."
    )
    samples: Mapped[int | None] = _stands_for("samples of this boot")
    cpu_percent_max: Mapped[float | None] = _largest(
        "cpu_percent", "%", Float, "The highest of cpu_percent of system_interval in them."
    )
    load_1min_max: Mapped[float | None] = _largest("load_1min", "processes", Float, "The highest load_1min.")
    load_5min_max: Mapped[float | None] = _largest("load_5min", "processes", Float, "The highest load_5min.")
    load_15min_max: Mapped[float | None] = _largest("load_15min", "processes", Float, "The highest load_15min.")
    mem_used_max_bytes: Mapped[int | None] = _largest("mem_used_bytes", "bytes", Integer, "The most mem_used_bytes.")
    swap_used_max_bytes: Mapped[int | None] = _largest(
        "swap_used_bytes", "bytes", Integer, "The most swap_used_bytes."
    )
    disk_read_max_bytes_per_second: Mapped[float | None] = _largest(
        "disk_read_bytes", "bytes/s", Float, "The most that was read from disks in one of their intervals.", 1.0
    )
    disk_write_max_bytes_per_second: Mapped[float | None] = _largest(
        "disk_write_bytes", "bytes/s", Float, "The most that was written to disks.", 1.0
    )
    net_sent_max_bytes_per_second: Mapped[float | None] = _largest(
        "net_sent_bytes", "bytes/s", Float, "The most that was sent.", 1.0
    )
    net_received_max_bytes_per_second: Mapped[float | None] = _largest(
        "net_received_bytes", "bytes/s", Float, "The most that was received.", 1.0
    )
    pressure_cpu_max_percent: Mapped[float | None] = _largest(
        "pressure_cpu_ms", "%", Float, "The largest part of an interval in which some task waited for a CPU.", 0.1
    )
    pressure_memory_max_percent: Mapped[float | None] = _largest(
        "pressure_memory_ms", "%", Float, "The same for memory.", 0.1
    )
    pressure_io_max_percent: Mapped[float | None] = _largest(
        "pressure_io_ms", "%", Float, "The same for a disk.", 0.1
    )
    forks_max_per_second: Mapped[float | None] = _largest(
        "forks", "1/s", Float, "The most processes and threads that were started in a second of an interval.", 1.0
    )
    tasks_running_max: Mapped[int | None] = _largest("tasks_running", "count", Integer, "The most tasks_running.")
    tasks_blocked_max: Mapped[int | None] = _largest("tasks_blocked", "count", Integer, "The most tasks_blocked.")


class Cgroup(Base):
    """A control group (version 2): a systemd unit, a container, a user's session. One that is removed and made again
    under the same path is another row.
    """

    __tablename__ = "cgroup"
    __table_args__ = (
        UniqueConstraint("boot_id", "path", "inode"),
        Index("ix_cgroup_living", "boot_id", sqlite_where=text("gone_sample_id IS NULL")),
        Index("ix_cgroup_gone", "gone_sample_id", sqlite_where=text("gone_sample_id IS NOT NULL")),
    )

    id: Mapped[Id] = mapped_column(primary_key=True, doc="Key.")
    boot_id: Mapped[Id] = mapped_column(ForeignKey("boot.id"), doc="The run of the kernel: boot.id.")
    path: Mapped[String] = mapped_column(doc="Its path, as /proc/PID/cgroup has it: /system.slice/cron.service.")
    inode: Mapped[Id] = mapped_column(doc="Inode of its folder, by which it is another than an earlier one there.")
    unit: Mapped[String] = mapped_column(
        info={"unit": "text", "is_derived": True},
        doc="What a person calls it, and those below it: a systemd unit (cron.service), a container (docker "
        "3f2a1b0c9d8e), the sessions of a user (alice: sessions), a slice, or else its path.",
    )
    parent_id: Mapped[Id | None] = mapped_column(
        ForeignKey("cgroup.id"), doc="The recorded group that it is in: cgroup.id. NULL: it is the outermost."
    )
    latest_sample_id: Mapped[Id | None] = mapped_column(
        ForeignKey("system_sample.id"),
        doc="The sample of its newest row in cgroup_sample: system_sample.id. NULL: it has none.",
    )
    gone_sample_id: Mapped[Id | None] = mapped_column(
        ForeignKey("system_sample.id"),
        doc="The first sample that did not see it any more: system_sample.id. NULL: the latest one saw it.",
    )


class CgroupSample(Base):
    """A control group, and all that is below it, at the instant of a system sample. There is a row only where
    something is not as in its row before. Counters are cumulative since the group was made and keep what has ended.
    """

    __tablename__ = "cgroup_sample"
    __table_args__ = ({"sqlite_with_rowid": False},)

    sample_id: Mapped[Id] = mapped_column(
        ForeignKey("system_sample.id"), primary_key=True, doc="The sample: system_sample.id."
    )
    cgroup_id: Mapped[Id] = mapped_column(ForeignKey("cgroup.id"), primary_key=True, doc="The group: cgroup.id.")
    previous_sample_id: Mapped[Id | None] = mapped_column(
        info={"unit": "id", "is_derived": True, "is_link": True},
        doc="The sample of its row before: system_sample.id, or what that was where that row has been purged: then "
        "it is not known what counters grew by. NULL: this is the first.",
    )
    cpu_user_ms: Mapped[CounterMilliseconds | None] = mapped_column(
        doc="Counter: user time (cpu.stat, user_usec). NULL: not known."
    )
    cpu_system_ms: Mapped[CounterMilliseconds | None] = mapped_column(
        doc="Counter: kernel time; with cpu_user_ms, cpu.stat's usage_usec. NULL: not known."
    )
    memory_bytes: Mapped[Bytes | None] = mapped_column(
        doc="Memory that is charged to it, its part of the page cache included (memory.current). "
        "NULL: the memory controller is off in it."
    )
    memory_peak_bytes: Mapped[Bytes | None] = mapped_column(
        doc="The most of that since it was made (memory.peak). NULL: the controller is off, or a kernel before 5.19."
    )
    oom_kills: Mapped[Counter | None] = mapped_column(
        doc="Counter: processes that were killed for want of memory (memory.events, oom_kill). "
        "NULL: the memory controller is off in it."
    )
    read_bytes: Mapped[CounterBytes | None] = mapped_column(
        doc="Counter: read from the disks that disk_read_bytes of the sample adds up (io.stat). "
        "NULL: the io controller is off in it."
    )
    write_bytes: Mapped[CounterBytes | None] = mapped_column(
        doc="Counter: written to them. NULL: the io controller is off in it."
    )
    tasks: Mapped[Count | None] = mapped_column(
        doc="Its threads (pids.current). NULL: the pids controller is off in it."
    )
    samples: Mapped[int | None] = _stands_for("rows of its group")
    cpu_percent_max: Mapped[float | None] = _largest(
        "cpu_percent", "%", Float, "The highest of cpu_percent of cgroup_interval in them."
    )
    memory_max_bytes: Mapped[int | None] = _largest("memory_bytes", "bytes", Integer, "The most memory_bytes.")
    tasks_max: Mapped[int | None] = _largest("tasks", "count", Integer, "The most tasks.")


class Process(Base):
    """A process: one program in one process ID. A reused ID is another row, and so is the same ID after exec."""

    __tablename__ = "process"
    __table_args__ = (UniqueConstraint("boot_id", "pid", "started_ticks", "name"),)

    id: Mapped[Id] = mapped_column(primary_key=True, doc="Key.")
    boot_id: Mapped[Id] = mapped_column(ForeignKey("boot.id"), doc="The run of the kernel: boot.id.")
    pid: Mapped[Id] = mapped_column(doc="Process ID.")
    started_ticks: Mapped[Ticks | None] = mapped_column(
        doc="Start time as clock ticks since boot (Linux: /proc/PID/stat, starttime), which a clock step does "
        "not change; elsewhere as hundredths of a second since 1970. NULL: not known (imported data)."
    )
    started_at: Mapped[UtcInstant | None] = mapped_column(
        doc="When it started, by the clock of its first sample. NULL: not known."
    )
    name: Mapped[String] = mapped_column(
        doc="Name that the kernel gave it, in full where its program's file is called so; the first one where it "
        "changes its name itself. *** for the values of passwords."
    )
    ppid: Mapped[Id | None] = mapped_column(doc="Process ID of its parent at its first sample. NULL: not known.")
    username: Mapped[String | None] = mapped_column(
        doc="Its real user's name, or number if that has no name. NULL: refused or not known."
    )
    cgroup_id: Mapped[Id | None] = mapped_column(
        ForeignKey("cgroup.id"),
        doc="The innermost recorded control group that it was in at its first sample: cgroup.id. NULL: not known, or "
        "none is recorded.",
    )
    command: Mapped[String | None] = mapped_column(
        doc="Command line at its first sample, arguments joined by spaces, cut after 4096 bytes (then it ends "
        "in …), *** for the values of passwords; empty for a kernel thread. NULL: refused or not known, or not "
        "asked for (record_command)."
    )


class NameFilter(Base):
    """A string that selects processes by their names."""

    __tablename__ = "name_filter"
    __table_args__ = (UniqueConstraint("text", "rank"),)

    id: Mapped[Id] = mapped_column(primary_key=True, doc="Key.")
    text: Mapped[String] = mapped_column(
        doc="The string that the name contains. Empty: recorded for another reason (--all, --top)."
    )
    rank: Mapped[Count] = mapped_column(
        doc="0: the first string that matched. 1 and up: a further one that matched the same process in the "
        "same sample, for which the original PerformanceTrack wrote a further row (imported data only)."
    )


class ProcessSample(Base):
    """A process at the instant of a system sample. Counters are cumulative since the process started."""

    __tablename__ = "process_sample"
    __table_args__ = ({"sqlite_with_rowid": False},)

    sample_id: Mapped[Id] = mapped_column(
        ForeignKey("system_sample.id"), primary_key=True, doc="The sample: system_sample.id."
    )
    process_id: Mapped[Id] = mapped_column(
        ForeignKey("process.id"), primary_key=True, doc="The process: process.id (not its pid)."
    )
    filter_id: Mapped[Id] = mapped_column(
        ForeignKey("name_filter.id"), primary_key=True, doc="Why it was recorded: name_filter.id."
    )
    cpu_percent: Mapped[Percent | None] = mapped_column(
        doc="CPU time in the window, percent of one CPU (above 100: several threads). NULL: it ended in the "
        "window, or there was no window."
    )
    cpu_user_ms: Mapped[CounterMilliseconds | None] = mapped_column(doc="Counter: user time. NULL: refused.")
    cpu_system_ms: Mapped[CounterMilliseconds | None] = mapped_column(doc="Counter: kernel time. NULL: refused.")
    children_user_ms: Mapped[CounterMilliseconds | None] = mapped_column(
        doc="Counter: user time of its children that have ended and that it has waited for, and of theirs "
        "(proc_pid_stat(5), cutime). NULL: refused or not on this system."
    )
    children_system_ms: Mapped[CounterMilliseconds | None] = mapped_column(
        doc="Counter: their kernel time (cstime). NULL: refused or not on this system."
    )
    rss_bytes: Mapped[Bytes | None] = mapped_column(doc="Resident memory (psutil: rss). NULL: refused.")
    vms_bytes: Mapped[Bytes | None] = mapped_column(doc="Address space (psutil: vms). NULL: refused.")
    num_threads: Mapped[Count | None] = mapped_column(doc="Threads. NULL: refused.")
    major_faults: Mapped[Counter | None] = mapped_column(
        doc="Counter: page faults that had to read a disk (proc_pid_stat(5), majflt). NULL: refused or not on this "
        "system."
    )
    read_bytes: Mapped[CounterBytes | None] = mapped_column(
        doc="Counter: read from disks (psutil: io_counters.read_bytes), by its children too once they have ended and "
        "it has waited for them, as the kernel adds them up. NULL: refused or not on this system."
    )
    write_bytes: Mapped[CounterBytes | None] = mapped_column(
        doc="Counter: written to disks, by such children too. NULL: refused or not on this system."
    )
    own_read_bytes: Mapped[CounterBytes | None] = mapped_column(
        info={"unit": "bytes", "counter": True, "own_of": "read_bytes"},
        doc="Counter: what of read_bytes is certainly its own (/proc/PID/task/PID/io). NULL: all of it, where it has "
        "no such children (children_user_ms and children_system_ms are 0); else not known, it has several threads.",
    )
    own_write_bytes: Mapped[CounterBytes | None] = mapped_column(
        info={"unit": "bytes", "counter": True, "own_of": "write_bytes"},
        doc="Counter: what of write_bytes is certainly its own. NULL: as own_read_bytes.",
    )
    uss_bytes: Mapped[Bytes | None] = mapped_column(
        doc="Memory of its own that would be freed if it ended (psutil: uss). "
        "NULL: not asked for (memory_detail) or refused."
    )
    pss_bytes: Mapped[Bytes | None] = mapped_column(
        doc="Its own memory and its share of what it shares (psutil: pss). "
        "NULL: not asked for, refused, or not on this system."
    )
    swap_bytes: Mapped[Bytes | None] = mapped_column(
        doc="Its memory in swap (psutil: swap). NULL: not asked for, refused, or not on this system."
    )
    samples: Mapped[int | None] = _stands_for("rows of its process")
    previous_sample_id: Mapped[int | None] = mapped_column(
        Integer,
        info={"unit": "id", "is_of_condensing": True, "is_link": True},
        doc="Of a condensed row, the sample of its own row before: system_sample.id, or what that was where that row "
        "has been purged: then it is not known what counters grew by. NULL: there is none, and it counts from its "
        "start unless `samples` is 0.",
    )
    cpu_percent_max: Mapped[float | None] = _largest(
        "cpu_percent", "%", Float, "The highest of cpu_percent of process_interval in them."
    )
    rss_max_bytes: Mapped[int | None] = _largest("rss_bytes", "bytes", Integer, "The most rss_bytes.")
    num_threads_max: Mapped[int | None] = _largest("num_threads", "count", Integer, "The most num_threads.")
