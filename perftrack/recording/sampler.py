"""Take one sample: first counters, one undisturbed sleep, second counters, everything else. Writes nothing."""

from __future__ import annotations

import datetime
import os
import socket
import sys
import time
import warnings

import psutil

from perftrack.recording.selection import Selection
from perftrack.sample import CPU_COUNTERS, Baseline, Sample
from perftrack.text import readable

if sys.platform == "linux":
    from perftrack.recording import linux as platform
else:
    from perftrack.recording import portable as platform

RANKING_SECONDS = 0.2

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from perftrack.sample import Row

    # By pid, started_ticks and name: what does not change of a process, as columns of its row, and whether some of it
    # was refused.
    Descriptions = dict[tuple[int, int | None, str], tuple[Row, bool]]


def take_sample(
    selection: Selection,
    cpu_window: float,
    stored_baseline: Callable[[Row, Row], Baseline | None],
    *,
    memory_detail: bool = False,
    record_command: str = "full",
    charged_cpu_seconds: float = 0.0,
    described: Descriptions | None = None,
) -> Sample:
    """Return one sample of the machine and of the chosen processes.

    *cpu_window*: seconds to measure percentages over; 0 does not wait but measures from the baseline that
    *stored_baseline* returns for a host and a boot row (None: there is none, and the percentages are None).
    *memory_detail*: read uss, pss and swap of each process too, which is slow. *record_command*: how much of
    command lines is recorded, see command.py. *charged_cpu_seconds*: CPU time of this program that earlier samples
    have been charged with. *described*: what a loop of samples remembers of the processes of the last one; brought
    up to date.
    """
    described = {} if described is None else described
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # psutil warns of each metric that a container hides
        host = {"name": readable(socket.gethostname())}
        booted_at = time.time() - platform.uptime_seconds()
        boot = {"key": platform.boot_key(), "booted_at": utc_text(booted_at)}
        own_pid = os.getpid()
        pids = [pid for pid in psutil.pids() if pid != own_pid]
        listed_uptime = platform.uptime_seconds()
        platform.forget_all_but(pids)
        baseline: Baseline | None
        ranking: Baseline | None
        if cpu_window > 0:
            rows, unreadable = _read_candidates(pids, selection, booted_at, described, record_command)
            baseline = _baseline(rows)
            time.sleep(cpu_window)
            cpu, uptime, taken_at = _cpu_counters(), platform.uptime_seconds(), time.time()
            rows = [_reread(row) for row in rows]
            ranking = baseline
        else:
            baseline = stored_baseline(host, boot)
            ranking = _ranking_baseline(pids, booted_at) if selection.top else None
            cpu, uptime, taken_at = _cpu_counters(), platform.uptime_seconds(), time.time()
            rows, unreadable = _read_candidates(pids, selection, booted_at, described, record_command)

        read_uptime = platform.uptime_seconds()
        for row in rows:
            row["cpu_percent"] = _process_cpu_percent(row, baseline)
        chosen = selection.choose(rows, lambda row: _process_cpu_percent(row, ranking) or 0.0)
        for row in chosen:
            _complete(row, booted_at, described, record_command, memory_detail=memory_detail)
        _keep_only(chosen, described)
        system = _system(taken_at, uptime, cpu, baseline)
        system["listed_uptime_seconds"] = round(listed_uptime, 3)
        system["read_uptime_seconds"] = round(read_uptime, 3)
        system["processes_seen"] = len(pids)
        system["processes_denied"] = unreadable + sum(row["denied"] for row in chosen)
        system["recorder_cpu_ms"] = round((time.process_time() - charged_cpu_seconds) * 1000)
        recorder = {"username": platform.own_username(), "selection": selection.options()}
        return Sample(host, boot, recorder, system, chosen)


def utc_text(timestamp: float) -> str:
    """Return seconds since 1970 as the database's text of a UTC instant."""
    instant = datetime.datetime.fromtimestamp(timestamp, datetime.UTC)
    return instant.replace(tzinfo=None).isoformat(" ", "microseconds")


def _read_candidates(
    pids: list[int], selection: Selection, booted_at: float, described: Descriptions, record_command: str
) -> tuple[list[Row], int]:
    """Return the processes that can be chosen, and how many are kept from us altogether.

    Those that certainly are chosen come with what _describe adds.
    """
    rows = []
    unreadable = 0
    for pid in pids:
        try:
            row = platform.read_process(pid, selection.can_choose)
        except PermissionError:  # mount -o hidepid=1
            unreadable += 1
            continue
        if row is not None:
            row["ended"] = False
            if selection.everything or selection.matching_filter(row["name"]) is not None:
                _describe(row, booted_at, described, record_command)
            rows.append(row)
    return rows, unreadable


def _ranking_baseline(pids: list[int], booted_at: float) -> Baseline:
    """Return counters of all processes from a moment ago: what --top goes by where no window is waited for.

    The stored counters are of the processes that were recorded, and the one that just began to spin is none of them.
    """
    rows, _ = _read_candidates(pids, Selection((), top=1), booted_at, {}, "none")
    baseline = _baseline(rows)
    time.sleep(RANKING_SECONDS)
    return baseline


def _describe(row: Row, booted_at: float, described: Descriptions, record_command: str) -> None:
    """Add what does not change as long as a process is the same to the database: owner, command line, start."""
    identity = _identity(row)
    if identity not in described:
        denied_before, row["denied"] = row["denied"], False
        platform.read_owner_and_command(row, record_command)
        constant = {"username": row["username"], "command": row["command"], "started_at": _started_at(row, booted_at)}
        described[identity] = (constant, row["denied"])
        row["denied"] = denied_before
    constant, denied = described[identity]
    row |= constant
    row["denied"] = row["denied"] or denied


def _started_at(row: Row, booted_at: float) -> str | None:
    age = platform.seconds_since_start(row)
    return None if age is None else utc_text(booted_at + row["read_at"] - age)


def _keep_only(chosen: list[Row], described: Descriptions) -> None:
    """Forget the processes that are gone."""
    for identity in described.keys() - {_identity(row) for row in chosen}:
        del described[identity]


def _identity(row: Row) -> tuple[int, int | None, str]:
    return row["pid"], row["started_ticks"], row["name"]


def _baseline(rows: list[Row]) -> Baseline:
    """Return the first counters of a window, the system's last, so that reading processes is not in its window."""
    processes = {
        (row["pid"], row["started_ticks"]): (row["cpu_user_ms"] + row["cpu_system_ms"], row["read_at"])
        for row in rows
        if row["cpu_user_ms"] is not None
    }
    return Baseline(platform.uptime_seconds(), _cpu_counters(), processes)


def _reread(before: Row) -> Row:
    """Return *before* with second counters, or as it was if the process has ended (or its PID is another's)."""
    try:
        after = platform.read_process(before["pid"])
    except PermissionError:
        after = None
    if after is None or after["started_ticks"] != before["started_ticks"]:
        before["ended"] = True
        return before
    after["name"], after["denied"] = before["name"], before["denied"] or after["denied"]
    before |= after
    return before


def _process_cpu_percent(row: Row, baseline: Baseline | None) -> float | None:
    """Return CPU time since *baseline*, or since its start if that was later, in percent of one CPU."""
    if baseline is None or row["ended"] or row["cpu_user_ms"] is None:
        return None
    counted = baseline.processes.get((row["pid"], row["started_ticks"]))
    if counted is None:
        age = platform.seconds_since_start(row)
        started_by = None if age is None else row["read_at"] - age + 1 / platform.TICKS_PER_SECOND
        if started_by is None or started_by < baseline.uptime_seconds:
            return None  # it ran at the baseline already, but was not recorded then
        counted = (0, row["read_at"] - age)
    cpu_ms_before, read_at_before = counted
    cpu_ms = row["cpu_user_ms"] + row["cpu_system_ms"] - cpu_ms_before
    return _percent(cpu_ms, (row["read_at"] - read_at_before) * 1000)


def _percent(part: float, whole: float) -> float | None:
    """Return a percentage to one decimal, as psutil does; None for a counter or a clock that went backwards."""
    return round(100 * part / whole, 1) if whole > 0 and part >= 0 else None


def _complete(
    row: Row, booted_at: float, described: Descriptions, record_command: str, *, memory_detail: bool
) -> None:
    """Add what only a chosen process's row needs."""
    if "command" not in row:
        if row["ended"]:  # its PID may be another's by now
            row |= {"username": None, "command": None, "started_at": _started_at(row, booted_at)}
        else:
            _describe(row, booted_at, described, record_command)
    row["uss_bytes"] = row["pss_bytes"] = row["swap_bytes"] = row["read_bytes"] = row["write_bytes"] = None
    if row["ended"]:
        return
    platform.read_memory_and_io(row)
    if memory_detail:
        try:
            memory = psutil.Process(row["pid"]).memory_full_info()
        except psutil.AccessDenied:
            row["denied"] = True
        except psutil.NoSuchProcess:
            pass
        else:
            row["uss_bytes"] = memory.uss
            row["pss_bytes"] = getattr(memory, "pss", None)
            row["swap_bytes"] = getattr(memory, "swap", None)


def _cpu_counters() -> Row:
    """Return the cpu counters of system_sample; together they are all the time there was."""
    return _known(platform.cpu_counters) or dict.fromkeys(CPU_COUNTERS)


def _system_cpu_percent(cpu: Row, baseline: Baseline | None) -> float | None:
    """Return busy time since *baseline* in percent of all CPUs; iowait is not busy, steal is (as in psutil)."""
    if baseline is None or None in (cpu["cpu_idle_ms"], baseline.system["cpu_idle_ms"]):
        return None
    spent = {name: (value or 0) - (baseline.system[name] or 0) for name, value in cpu.items()}
    spent["cpu_iowait_ms"] = max(0, spent["cpu_iowait_ms"])  # the one that may decrease, proc_stat(5)
    if min(spent.values()) < 0:
        return None
    total = sum(spent.values())
    return _percent(total - spent["cpu_idle_ms"] - spent["cpu_iowait_ms"], total)


def _system(taken_at: float, uptime: float, cpu: Row, baseline: Baseline | None) -> Row:
    """Return a row of system_sample, but for what the processes tell."""
    memory = _known(platform.memory_bytes) or (None, None, None)
    swap = _known(platform.swap_bytes) or (None, None)
    disk = _known(platform.disk_bytes) or (None, None)
    network = _known(platform.network_bytes) or (None, None)
    # psutil's emulation on Windows starts with zeros, which would not be true
    load = _known(os.getloadavg) if hasattr(os, "getloadavg") else None
    local = datetime.datetime.fromtimestamp(taken_at)  # noqa: DTZ006 - the wall clock's own reading is wanted
    return {
        "taken_at": utc_text(taken_at),
        "taken_at_local": local.isoformat(" ", "microseconds"),
        "uptime_seconds": round(uptime, 3),
        "window_seconds": None if baseline is None else round(uptime - baseline.uptime_seconds, 3),
        "cpu_percent": _system_cpu_percent(cpu, baseline),
        **cpu,
        "cpu_count": _known(psutil.cpu_count),
        "load_1min": load and round(load[0], 2),
        "load_5min": load and round(load[1], 2),
        "load_15min": load and round(load[2], 2),
        "mem_total_bytes": memory[0],
        "mem_available_bytes": memory[1],
        "mem_used_bytes": memory[2],
        "swap_total_bytes": swap[0],
        "swap_used_bytes": swap[1],
        "disk_read_bytes": disk[0],
        "disk_write_bytes": disk[1],
        "net_sent_bytes": network[0],
        "net_received_bytes": network[1],
        "pressure_cpu_ms": platform.pressure_ms("cpu"),
        "pressure_memory_ms": platform.pressure_ms("memory"),
        "pressure_io_ms": platform.pressure_ms("io"),
    }


def _known(read: Callable[[], Any]) -> Any:
    """Return what *read* gives, or None where this system does not tell."""
    try:
        return read()
    except (OSError, RuntimeError, NotImplementedError, ValueError, psutil.Error):
        return None
