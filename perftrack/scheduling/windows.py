"""Tasks of the Windows Task Scheduler, as XML, through schtasks.

The format: https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema
"""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
import tempfile
from datetime import datetime
from xml.sax.saxutils import escape, unescape

from perftrack.errors import PerftrackError
from perftrack.installation import program
from perftrack.programs import run
from perftrack.scheduling.job import MINUTE, Job, require_text
from perftrack.scheduling.schedule import NOTE, Schedule, one_line, target, task_of

_IN_SESSION = "Windows task, while you are logged on"
# The beat starts in the past, on a whole hour or a while after it. It is started also on batteries, and never twice
# at once; a loop is started again at the next beat when it has ended.
_TASK = """\
<?xml version="1.0" encoding="UTF-16"?>
<Task version="1.2" xmlns="http://schemas.microsoft.com/windows/2004/02/mit/task">
  <RegistrationInfo>
    <Description>{description}. {note}</Description>
    <URI>\\{name}</URI>
  </RegistrationInfo>
  <Triggers>
    <TimeTrigger>
      <StartBoundary>2020-01-01T{offset}</StartBoundary>
      <Repetition>
        <Interval>PT{minutes}M</Interval>
      </Repetition>
    </TimeTrigger>
  </Triggers>
  <Principals>
    <Principal id="Author">
      <UserId>{user}</UserId>
      <LogonType>{logon}</LogonType>
      <RunLevel>LeastPrivilege</RunLevel>
    </Principal>
  </Principals>
  <Settings>
    <MultipleInstancesPolicy>IgnoreNew</MultipleInstancesPolicy>
    <DisallowStartIfOnBatteries>false</DisallowStartIfOnBatteries>
    <StopIfGoingOnBatteries>false</StopIfGoingOnBatteries>
    <ExecutionTimeLimit>PT0S</ExecutionTimeLimit>
    <Priority>7</Priority>
  </Settings>
  <Actions Context="Author">
    <Exec>
      <Command>{command}</Command>
      <Arguments>{arguments}</Arguments>
    </Exec>
  </Actions>
</Task>
"""


def found() -> list[Schedule]:
    """Return the tasks that record or ship. What cannot be read is skipped."""
    if os.name != "nt":
        return []
    # it says UTF-16 and writes as the console does
    return schedules(run("schtasks", "/Query", "/XML", "ONE", wait_seconds=60).output.decode("oem", "replace"))


def schedules(text: str) -> list[Schedule]:
    """Return those among the tasks that *text* has, as schtasks lists them."""
    listed = []
    for task in re.findall(r"<Task\b.*?</Task>", text, re.DOTALL):
        command = f'"{_element(task, "Command")}" {_element(task, "Arguments")}'
        if (task_name := task_of(command)) is not None:
            kind = _IN_SESSION if _element(task, "LogonType") == "InteractiveToken" else "Windows task"
            # to a shell's rules, a backslash would be no part of a path
            database = target(command.replace("\\", "/"), {})
            name = _element(task, "URI").lstrip("\\")
            listed.append(Schedule("schtasks", kind, name, one_line(command), database, NOTE in task, task_name))
    return listed


def contents(job: Job) -> list[tuple[str, str]]:
    """Return the task of *job* and its text. Raises: UsageError."""
    command = [*_program(), *job.command[len(program()) :]]
    require_text(command, "the Windows Task Scheduler")
    values = {
        "description": job.description,
        "note": NOTE,
        "name": job.name,
        "offset": f"00:{job.offset_seconds // MINUTE:02}:{job.offset_seconds % MINUTE:02}",
        "minutes": str(max(1, job.every_seconds // MINUTE)),
        "user": "\\".join(filter(None, [os.environ.get("USERDOMAIN"), os.environ.get("USERNAME")])),
        "logon": "S4U" if _is_administrator() else "InteractiveToken",
        "command": command[0],
        "arguments": subprocess.list2cmdline(command[1:]),
    }
    return [(f"task {job.name}", _TASK.format(**{name: escape(value) for name, value in values.items()}))]


def obstacle() -> str | None:
    """Return what is in the way of installing here, and what to do about it."""
    return None if os.name == "nt" else "the Task Scheduler is a part of Windows: give --using systemd or cron"


def missing(schedule: Schedule) -> list[str]:
    """Return what keeps the task from being started, and what to do about it."""
    if schedule.kind != _IN_SESSION:
        return []
    return ["nothing is recorded while you are logged off: install it from a prompt of an administrator"]


def install(job: Job) -> None:
    """Register the task of *job*, in its own place. Raises: PerftrackError."""
    there = run("schtasks", "/Query", "/TN", job.name, "/XML")
    if there.exit_code == 0 and NOTE not in there.output.decode("oem", "replace"):
        raise PerftrackError(f"the task {job.name} was not written by `perftrack schedule install`: rename it first")
    ((_, text),) = contents(job)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, f"{job.name}.xml")
        with open(path, "w", encoding="utf-16") as file:
            file.write(text)
        _schtasks("/Create", "/TN", job.name, "/XML", path, "/F")


def remove(schedule: Schedule) -> None:
    """Delete the task of *schedule*, and nothing else. Raises: PerftrackError."""
    _schtasks("/Delete", "/TN", schedule.where, "/F")


def next_run(schedule: Schedule, now: datetime) -> datetime | None:  # noqa: ARG001 - as all mechanisms have it
    """Return None: schtasks tells it in the language of the system only."""
    return None


def _element(task: str, name: str) -> str:
    match = re.search(rf"<{name}>(.*?)</{name}>", task, re.DOTALL)
    return unescape(match[1]) if match else ""


def _program() -> list[str]:
    """Return the words that run this copy without a window, which would come up every minute."""
    windowless = os.path.join(os.path.dirname(sys.executable), "pythonw.exe")
    return [windowless, "-m", "perftrack"] if os.path.exists(windowless) else program()


def _is_administrator() -> bool:
    libraries = getattr(ctypes, "windll", None)
    return libraries is not None and bool(libraries.shell32.IsUserAnAdmin())


def _schtasks(*words: str) -> None:
    done = run("schtasks", *words, wait_seconds=60)
    if done.exit_code:
        raise PerftrackError(f"schtasks {words[0]} failed, and all was left as it was: {done.error}")
