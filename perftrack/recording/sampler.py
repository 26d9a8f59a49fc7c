"""Take one sample: first counters, one undisturbed sleep, second counters, everything else. Writes nothing."""

from __future__ import annotations

import os
import socket
import sys
import time
import warnings

import psutil

from perftrack.recording import percent, system
from perftrack.recording.selection import Description, Selection
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

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from perftrack.recording.selection import Candidate
    from perftrack.rows import BootRow, HostRow, ProcessRow, RecorderRow
    from perftrack.settings import Settings

RANKING_SECONDS = 0.2
_UNKNOWN: ProcessRow = unknown([*PROCESS_COLUMNS, *PROCESS_SAMPLE_COLUMNS, "cgroup"]) | {"named_itself": False}


class Sampler:
    """Takes one sample after the other, of the machine and of the processes that the settings choose.

    A loop keeps one, and with it what need not be read again. *charged_cpu_seconds*: CPU time of this program that
    samples before the next have been charged with, for a loop to set.
    """

    def __init__(self, settings: Settings) -> None:
        self.charged_cpu_seconds = 0.0
        self._settings = settings
        self._selection = Selection(settings)
        self._booted_at = 0.0  # as the clock is at the sample
        # Of the processes of the last sample, by pid, started_ticks and name.
        self._described: dict[tuple[int, int | None, str], Description] = {}

    def take(self, stored_baseline: Callable[[HostRow, BootRow, RecorderRow, float], Baseline | None]) -> Sample:
        """Return one sample.

        Without a cpu_window, percentages are from what *stored_baseline* returns for a host, a boot and a recorder
        row and the latest uptime (None: there is none, nor are percentages).
        """
        settings = self._settings
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # psutil warns of each metric that a container hides
            host: HostRow = {"name": storable(socket.gethostname())}
            self._booted_at = time.time() - system_reader.uptime_seconds()
            boot: BootRow = {"key": system_reader.boot_key(), "booted_at": system.utc_text(self._booted_at)}
            recorder: RecorderRow = {"username": processes.own_username(), "selection": self._selection.text()}
            own_pid = os.getpid()
            pids = [pid for pid in psutil.pids() if pid != own_pid]
            listed_uptime = system_reader.uptime_seconds()
            processes.forget_all_but(pids)
            baseline: Baseline | None
            ranking: Baseline | None
            if settings.cpu_window > 0:
                candidates, unreadable = self._read_candidates(pids)
                baseline = ranking = _baseline(candidates)
                time.sleep(settings.cpu_window)
                cpu, uptime, taken_at = system.cpu_counters(), system_reader.uptime_seconds(), time.time()
                candidates = [_read_again(candidate) for candidate in candidates]
            else:
                ranking = self._ranking_baseline(pids) if settings.top else None
                latest = system_reader.uptime_seconds() - SHORTEST_SECONDS
                baseline = stored_baseline(host, boot, recorder, latest)
                cpu, uptime, taken_at = system.cpu_counters(), system_reader.uptime_seconds(), time.time()
                candidates, unreadable = self._read_candidates(pids)
            read_uptime = system_reader.uptime_seconds()
            chosen = self._selection.choose(
                candidates, lambda candidate: percent.of_process(candidate, ranking) or 0.0
            )
            for candidate in chosen:
                self._complete(candidate, baseline)
            self._forget_all_but(chosen)
            row = system.read_row(taken_at) | cpu
            # last, so that the group of a process that was new is among them
            cgroups = read_cgroups(settings.cgroup_depth, settings.cgroup_paths) if settings.cgroups else None
            row |= {
                "uptime_seconds": round(uptime, 3),
                "listed_uptime_seconds": round(listed_uptime, 3),
                "read_uptime_seconds": round(read_uptime, 3),
                "window_seconds": None if baseline is None else round(uptime - baseline.uptime_seconds, 3),
                "cpu_percent": percent.of_system(cpu, baseline),
                "cgroups_seen": None if cgroups is None else len(cgroups),
                "processes_seen": len(pids),
                "processes_denied": unreadable + sum(candidate.denied for candidate in chosen),
                "recorder_cpu_ms": round((time.process_time() - self.charged_cpu_seconds) * 1000),
            }
            return Sample(host, boot, recorder, row, [candidate.row for candidate in chosen], cgroups)

    def _read_candidates(self, pids: list[int]) -> tuple[list[Candidate], int]:
        """Return the processes that can be chosen, and how many are kept from us altogether.

        Those that certainly are chosen are described at once, for they may end soon.
        """
        candidates = []
        unreadable = 0
        for pid in pids:
            try:
                candidate = processes.read_process(pid, self._selection.can_choose)
            except PermissionError:  # mount -o hidepid=1
                unreadable += 1
                continue
            if candidate is not None:
                if self._selection.is_certain(candidate.row["name"]):
                    self._describe(candidate)
                candidates.append(candidate)
        return candidates, unreadable

    def _ranking_baseline(self, pids: list[int]) -> Baseline:
        """Return counters of all processes from just before: what --top goes by where no window is waited for.

        The stored counters are of the processes that were recorded, and the one that just began to spin is none of
        them.
        """
        candidates, _ = self._read_candidates(pids)
        baseline = _baseline(candidates)
        time.sleep(RANKING_SECONDS)
        return baseline

    def _complete(self, candidate: Candidate, baseline: Baseline | None) -> None:
        """Make the row of a chosen process whole; whatever stays unknown is None."""
        description = self._describe(candidate)
        candidate.denied = candidate.denied or description.denied
        candidate.row = {
            **_UNKNOWN,
            **candidate.row,
            **description.row,
            "cpu_percent": percent.of_process(candidate, baseline),
        }
        if not candidate.ended:
            processes.read_memory_and_io(candidate)
            if self._settings.memory_detail:
                _read_memory_detail(candidate)

    def _describe(self, candidate: Candidate) -> Description:
        """Return what does not change as long as a process is the same to the database; it is read once."""
        identity = _identity(candidate.row)
        found = self._described.get(identity)
        if found is None:
            started = candidate.started_uptime_seconds
            started_at = None if started is None else system.utc_text(self._booted_at + started)
            if candidate.ended:  # its PID may be another's by now
                return Description({"started_at": started_at})
            found = self._described[identity] = processes.read_owner_and_command(
                candidate, self._settings.record_command
            )
            found.row["started_at"] = started_at
            if self._settings.cgroups:
                found.row["cgroup"] = processes.read_cgroup(candidate.row["pid"])
        return found

    def _forget_all_but(self, chosen: list[Candidate]) -> None:
        """Forget the processes that are gone."""
        for identity in self._described.keys() - {_identity(candidate.row) for candidate in chosen}:
            del self._described[identity]


def _baseline(candidates: list[Candidate]) -> Baseline:
    """Return the first counters of a window, the system's last: reading those of processes is not in its window."""
    counted = {}
    for candidate in candidates:
        row = candidate.row
        user_ms, system_ms = row["cpu_user_ms"], row["cpu_system_ms"]
        if user_ms is not None and system_ms is not None:
            counted[row["pid"], row["started_ticks"]] = user_ms + system_ms, candidate.read_uptime_seconds
    return Baseline(system_reader.uptime_seconds(), system.cpu_counters(), counted)


def _read_again(candidate: Candidate) -> Candidate:
    """Return a process with second counters and its first name, or as it was where it (or its PID) has *ended*."""
    try:
        again = processes.read_process(candidate.row["pid"])
    except PermissionError:
        again = None
    if again is None or again.row["started_ticks"] != candidate.row["started_ticks"]:
        candidate.ended = True
        return candidate
    again.row["name"] = candidate.row["name"]
    again.denied = again.denied or candidate.denied
    return again


def _read_memory_detail(candidate: Candidate) -> None:
    """Add uss, pss and swap, which is slow; nothing where the process has ended."""
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


def _identity(row: ProcessRow) -> tuple[int, int | None, str]:
    return row["pid"], row["started_ticks"], row["name"]
