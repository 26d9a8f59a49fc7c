"""The rows of a sample, for the type checker, and to check a kept one by.

Generated from models.py by `python -m perftrack.storage.statements`; do not edit.
"""

from __future__ import annotations

from typing import TypedDict


class HostRow(TypedDict, total=False):
    """Of host; storage adds the ids."""

    name: str


class BootRow(TypedDict, total=False):
    """Of boot; storage adds the ids."""

    key: str | None
    booted_at: str | None


class RecorderRow(TypedDict, total=False):
    """Of recorder; storage adds the ids."""

    username: str
    selection: str


class SystemRow(TypedDict, total=False):
    """Of system_sample; storage adds the ids."""

    disk_set: str | None  # device_set.names of the disks
    net_set: str | None  # and of the network interfaces
    taken_at: str
    taken_at_local: str
    uptime_seconds: float | None
    listed_uptime_seconds: float | None
    read_uptime_seconds: float | None
    window_seconds: float | None
    cpu_percent: float | None
    cpu_user_ms: int | None
    cpu_system_ms: int | None
    cpu_idle_ms: int | None
    cpu_iowait_ms: int | None
    cpu_steal_ms: int | None
    cpu_count: int | None
    load_1min: float | None
    load_5min: float | None
    load_15min: float | None
    mem_total_bytes: int | None
    mem_available_bytes: int | None
    mem_used_bytes: int | None
    swap_total_bytes: int | None
    swap_used_bytes: int | None
    disk_read_bytes: int | None
    disk_write_bytes: int | None
    net_sent_bytes: int | None
    net_received_bytes: int | None
    pressure_cpu_ms: int | None
    pressure_memory_ms: int | None
    pressure_io_ms: int | None
    forks: int | None
    context_switches: int | None
    oom_kills: int | None
    tasks_running: int | None
    tasks_blocked: int | None
    cgroups_seen: int | None
    processes_seen: int | None
    processes_denied: int | None
    recorder_cpu_ms: int | None


class CgroupRow(TypedDict, total=False):
    """Of cgroup and cgroup_sample; storage adds the ids."""

    path: str
    inode: int
    cpu_user_ms: int | None
    cpu_system_ms: int | None
    memory_bytes: int | None
    memory_peak_bytes: int | None
    oom_kills: int | None
    read_bytes: int | None
    write_bytes: int | None
    tasks: int | None


class ProcessRow(TypedDict, total=False):
    """Of process and process_sample; storage adds the ids."""

    filter: str  # the string that selected it; empty: another reason
    cgroup: str | None  # path of its control group; None: not known, or in none
    named_itself: bool | None  # its name is a title, and it may be known by an earlier name
    pid: int
    started_ticks: int | None
    started_at: str | None
    name: str
    ppid: int | None
    username: str | None
    command: str | None
    cpu_percent: float | None
    cpu_user_ms: int | None
    cpu_system_ms: int | None
    children_user_ms: int | None
    children_system_ms: int | None
    rss_bytes: int | None
    vms_bytes: int | None
    num_threads: int | None
    major_faults: int | None
    read_bytes: int | None
    write_bytes: int | None
    own_read_bytes: int | None
    own_write_bytes: int | None
    uss_bytes: int | None
    pss_bytes: int | None
    swap_bytes: int | None
