"""Take one sample: first counters, one undisturbed sleep, second counters, everything else. Writes nothing."""

from __future__ import annotations

import os
import socket
import sys
import time
import warnings

import psutil

from perftrack.recording import percent, system
from perftrack.recording.selection import Candidate, Selection
from perftrack.sample import SHORTEST_SECONDS, Baseline, Sample, unknown
from perftrack.storage.tick_sql import PROCESS_COLUMNS, PROCESS_SAMPLE_COLUMNS
from perftrack.text import storable

if sys.platform == "linux":
    from perftrack.recording import linux_processes as processes
    from perftrack.recording import linux_system as system_reader
    from perftrack.recording.cgroups import read_cgroups
else:
    from perftrack.recording import portable_processes as processes
    from perftrack.recording import portable_system as system_reader
    from perftrack.recording.portable_processes import read_cgroups

RANKING_SECONDS = 0.2
_PROCESS_COLUMNS = PROCESS_COLUMNS + PROCESS_SAMPLE_COLUMNS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from perftrack.rows import BootRow, HostRow, ProcessRow, RecorderRow

    # What does not change of a process, by pid, started_ticks and name.
    Descriptions = dict[tuple[int, int | None, str], Candidate]


def take_sample(
    selection: Selection,
    cpu_window: float,
    stored_baseline: Callable[[HostRow, BootRow, RecorderRow, float], Baseline | None],
    *,
    memory_detail: bool = False,
    record_command: str = "full",
    charged_cpu_seconds: float = 0.0,
    described: Descriptions | None = None,
) -> Sample:
    """Return one sample of the machine and of the chosen processes.

    *cpu_window*: seconds to measure percentages over; 0 does not wait but measures from what *stored_baseline*
    returns for a host, a boot and a recorder row and the latest uptime (None: there is none, nor are percentages).
    *memory_detail*: read uss, pss and swap of each process too, which is slow. *record_command*: how much of
    command lines is recorded, see redaction.py. *charged_cpu_seconds*: CPU time of this program that earlier samples
    have been charged with. *described*: what a loop of samples remembers of the processes of the last one; brought
    up to date.
    """
    described = {} if described is None else described
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # psutil warns of each metric that a container hides
        host: HostRow = {"name": storable(socket.gethostname())}
        booted_at = time.time() - system_reader.uptime_seconds()
        boot: BootRow = {"key": system_reader.boot_key(), "booted_at": system.utc_text(booted_at)}
        recorder: RecorderRow = {"username": processes.own_username(), "selection": selection.text()}
        own_pid = os.getpid()
        pids = [pid for pid in psutil.pids() if pid != own_pid]
        listed_uptime = system_reader.uptime_seconds()
        processes.forget_all_but(pids)
        baseline: Baseline | None
        ranking: Baseline | None
        if cpu_window > 0:
            candidates, unreadable = _read_candidates(pids, selection, booted_at, described, record_command)
            baseline = ranking = _baseline(candidates)
            time.sleep(cpu_window)
            cpu, uptime, taken_at = system.cpu_counters(), system_reader.uptime_seconds(), time.time()
            for candidate in candidates:
                _read_again(candidate)
        else:
            ranking = _ranking_baseline(pids, booted_at) if selection.top else None
            latest = system_reader.uptime_seconds() - SHORTEST_SECONDS
            baseline = stored_baseline(host, boot, recorder, latest)
            cpu, uptime, taken_at = system.cpu_counters(), system_reader.uptime_seconds(), time.time()
            candidates, unreadable = _read_candidates(pids, selection, booted_at, described, record_command)
        read_uptime = system_reader.uptime_seconds()
        chosen = selection.choose(candidates, lambda candidate: percent.of_process(candidate, ranking) or 0.0)
        for candidate in chosen:
            candidate.row["cpu_percent"] = percent.of_process(candidate, baseline)
            _complete(candidate, selection, booted_at, described, record_command, memory_detail=memory_detail)
        _forget_all_but(chosen, described)
        row = system.read_row(taken_at) | cpu
        # last, so that the group of a process that was new is among them
        cgroups = read_cgroups(selection.cgroup_depth, selection.cgroup_paths) if selection.cgroups else None
        row |= {
            "uptime_seconds": round(uptime, 3),
            "listed_uptime_seconds": round(listed_uptime, 3),
            "read_uptime_seconds": round(read_uptime, 3),
            "window_seconds": None if baseline is None else round(uptime - baseline.uptime_seconds, 3),
            "cpu_percent": percent.of_system(cpu, baseline),
            "cgroups_seen": None if cgroups is None else len(cgroups),
            "processes_seen": len(pids),
            "processes_denied": unreadable + sum(candidate.denied for candidate in chosen),
            "recorder_cpu_ms": round((time.process_time() - charged_cpu_seconds) * 1000),
        }
        return Sample(host, boot, recorder, row, [candidate.row for candidate in chosen], cgroups)


def _read_candidates(
    pids: list[int], selection: Selection, booted_at: float, described: Descriptions, record_command: str
) -> tuple[list[Candidate], int]:
    """Return the processes that can be chosen, and how many are kept from us altogether.

    Those that certainly are chosen come with what _describe adds.
    """
    candidates = []
    unreadable = 0
    for pid in pids:
        try:
            candidate = processes.read_process(pid, selection.can_choose)
        except PermissionError:  # mount -o hidepid=1
            unreadable += 1
            continue
        if candidate is not None:
            if selection.everything or selection.matching_filter(candidate.row["name"]) is not None:
                _describe(candidate, selection, booted_at, described, record_command)
            candidates.append(candidate)
    return candidates, unreadable


def _ranking_baseline(pids: list[int], booted_at: float) -> Baseline:
    """Return counters of all processes from just before: what --top goes by where no window is waited for.

    The stored counters are of the processes that were recorded, and the one that just began to spin is none of them.
    """
    candidates, _ = _read_candidates(pids, Selection((), top=1), booted_at, {}, "none")
    baseline = _baseline(candidates)
    time.sleep(RANKING_SECONDS)
    return baseline


def _baseline(candidates: list[Candidate]) -> Baseline:
    """Return the first counters of a window, the system's last: reading those of processes is not in its window."""
    counted = {}
    for candidate in candidates:
        row = candidate.row
        user_ms, system_ms = row["cpu_user_ms"], row["cpu_system_ms"]
        if user_ms is not None and system_ms is not None:
            counted[row["pid"], row["started_ticks"]] = user_ms + system_ms, candidate.read_uptime_seconds
    return Baseline(system_reader.uptime_seconds(), system.cpu_counters(), counted)


def _read_again(candidate: Candidate) -> None:
    """Read second counters, unless the process has ended (or its PID is another's); it keeps its first name."""
    row = candidate.row
    try:
        again = processes.read_process(row["pid"])
    except PermissionError:
        again = None
    if again is None or again.row["started_ticks"] != row["started_ticks"]:
        candidate.ended = True
        return
    again.row["name"] = row["name"]
    row |= again.row
    candidate.read_uptime_seconds, candidate.zombie = again.read_uptime_seconds, again.zombie
    candidate.denied = candidate.denied or again.denied


def _describe(
    candidate: Candidate, selection: Selection, booted_at: float, described: Descriptions, record_command: str
) -> None:
    """Add what does not change as long as a process is the same to the database: owner, command line, start."""
    identity = _identity(candidate.row)
    if identity not in described:
        known: ProcessRow = {"pid": candidate.row["pid"], "name": candidate.row["name"]}
        described[identity] = Candidate(known, 0, zombie=candidate.zombie)
        processes.read_owner_and_command(described[identity], record_command)
        if selection.cgroups:
            processes.read_cgroup(described[identity])
        described[identity].row["started_at"] = _started_at(candidate, booted_at)
    candidate.row |= described[identity].row
    candidate.denied = candidate.denied or described[identity].denied


def _identity(row: ProcessRow) -> tuple[int, int | None, str]:
    return row["pid"], row["started_ticks"], row["name"]


def _forget_all_but(chosen: list[Candidate], described: Descriptions) -> None:
    """Forget the processes that are gone."""
    for identity in described.keys() - {_identity(candidate.row) for candidate in chosen}:
        del described[identity]


def _complete(
    candidate: Candidate,
    selection: Selection,
    booted_at: float,
    described: Descriptions,
    record_command: str,
    *,
    memory_detail: bool,
) -> None:
    """Add what only a chosen process's row needs; whatever stays unknown is None."""
    if "started_at" not in candidate.row:
        if candidate.ended:  # its PID may be another's by now
            candidate.row["started_at"] = _started_at(candidate, booted_at)
        else:
            _describe(candidate, selection, booted_at, described, record_command)
    candidate.row = unknown([*_PROCESS_COLUMNS, "cgroup"]) | {"named_itself": False} | candidate.row
    if candidate.ended:
        return
    processes.read_memory_and_io(candidate)
    if memory_detail:
        try:
            memory = psutil.Process(candidate.row["pid"]).memory_full_info()
        except psutil.AccessDenied:
            candidate.denied = True
        except psutil.NoSuchProcess:
            pass
        else:
            candidate.row |= {
                "uss_bytes": memory.uss,
                "pss_bytes": getattr(memory, "pss", None),
                "swap_bytes": getattr(memory, "swap", None),
            }


def _started_at(candidate: Candidate, booted_at: float) -> str | None:
    started = candidate.started_uptime_seconds
    return None if started is None else system.utc_text(booted_at + started)
