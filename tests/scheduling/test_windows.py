"""The task of `perftrack schedule` for Windows, against the published schema of the Task Scheduler."""

from __future__ import annotations

import shlex
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from conftest import Run

from perftrack.errors import UsageError
from perftrack.scheduling import job, windows
from perftrack.settings import load

NAMESPACE = "http://schemas.microsoft.com/windows/2004/02/mit/task"
# Of https://learn.microsoft.com/windows/win32/taskschd/task-scheduler-schema, what a task of ours may have: the
# children of each element, which for a trigger have to come in this order.
SCHEMA = {
    "Task": {"RegistrationInfo", "Triggers", "Settings", "Data", "Principals", "Actions"},
    "RegistrationInfo": {"URI", "SecurityDescriptor", "Source", "Date", "Author", "Version", "Description"},
    "Triggers": {"TimeTrigger"},
    "TimeTrigger": {"Enabled", "StartBoundary", "EndBoundary", "Repetition", "ExecutionTimeLimit"},
    "Repetition": {"Interval", "Duration", "StopAtDurationEnd"},
    "Principals": {"Principal"},
    "Principal": {"UserId", "LogonType", "GroupId", "DisplayName", "RunLevel"},
    "Settings": {
        *("AllowStartOnDemand", "RestartOnFailure", "MultipleInstancesPolicy", "DisallowStartIfOnBatteries"),
        *("StopIfGoingOnBatteries", "AllowHardTerminate", "StartWhenAvailable", "NetworkProfileName"),
        *("RunOnlyIfNetworkAvailable", "WakeToRun", "Enabled", "Hidden", "DeleteExpiredTaskAfter", "IdleSettings"),
        *("ExecutionTimeLimit", "Priority", "RunOnlyIfIdle"),
    },
    "Actions": {"Exec"},
    "Exec": {"Command", "Arguments", "WorkingDirectory"},
}
TRIGGER_ORDER = ["Enabled", "StartBoundary", "EndBoundary", "Repetition", "ExecutionTimeLimit"]
HOSTILE = "C:/a b/100% & <ü>"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """This perftrack is an installed one."""
    monkeypatch.setattr(sys, "argv", ["/opt/perftrack/bin/perftrack", "schedule"])


def task(every: str = "1m", database: str = f"{HOSTILE}/p.db") -> str:
    ((_, text),) = windows.contents(job.job(load({"database": database}), every))
    return text


def parsed(text: str) -> ET.Element:
    return ET.fromstring(text.encode("utf-16"))


def value(root: ET.Element, path: str) -> str | None:
    return root.findtext("/".join(f"{{{NAMESPACE}}}{name}" for name in path.split("/")))


@pytest.mark.parametrize("every", ["1m", "10s", "5m", "6h", "1d"])
def test_the_task_has_what_the_schema_has(every: str) -> None:
    root = parsed(task(every))
    assert root.tag == f"{{{NAMESPACE}}}Task"
    assert root.get("version") == "1.2"
    for element in root.iter():
        children = [child.tag.removeprefix(f"{{{NAMESPACE}}}") for child in element]
        allowed = SCHEMA.get(element.tag.removeprefix(f"{{{NAMESPACE}}}"), set())
        assert set(children) <= allowed, element.tag
        assert len(children) == len(set(children))
        if "StartBoundary" in children:
            assert children == [name for name in TRIGGER_ORDER if name in children]
    ids = [principal.get("id") for principal in root.iter(f"{{{NAMESPACE}}}Principal")]
    assert [actions.get("Context") for actions in root.iter(f"{{{NAMESPACE}}}Actions")] == ids


@pytest.mark.parametrize(("every", "interval"), [("1m", "PT1M"), ("10s", "PT1M"), ("5m", "PT5M"), ("6h", "PT360M")])
def test_the_task_starts_as_often_as_was_asked_also_on_batteries(every: str, interval: str) -> None:
    root = parsed(task(every))
    assert value(root, "Triggers/TimeTrigger/Repetition/Interval") == interval
    assert value(root, "Triggers/TimeTrigger/Repetition/Duration") is None  # for ever
    assert value(root, "Settings/DisallowStartIfOnBatteries") == "false"
    assert value(root, "Settings/StopIfGoingOnBatteries") == "false"
    assert value(root, "Settings/MultipleInstancesPolicy") == "IgnoreNew"
    assert value(root, "Settings/ExecutionTimeLimit") == "PT0S"
    assert ("--every 10s" in (value(root, "Actions/Exec/Arguments") or "")) is (every == "10s")


def test_the_task_names_all_in_full() -> None:
    made = job.job(load({"database": f"{HOSTILE}/p.db"}), "1m")
    root = parsed(task())
    words = shlex.split(value(root, "Actions/Exec/Arguments") or "")
    assert [value(root, "Actions/Exec/Command"), *words] == made.command


def test_a_task_that_ships_begins_at_a_moment_of_its_own(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    config = tmp_path / "perftrack.toml"
    config.write_text('ship_to = "postgresql://web1@db.example.org/fleet"\n')
    made = job.ship_job(load({"database": "/srv/p.db"}, str(config)))
    ((_, text),) = windows.contents(made)
    root = parsed(text)
    assert value(root, "Triggers/TimeTrigger/Repetition/Interval") == "PT10M"
    minutes, seconds = divmod(made.offset_seconds, 60)
    assert value(root, "Triggers/TimeTrigger/StartBoundary") == f"2020-01-01T00:{minutes:02}:{seconds:02}"
    assert (value(root, "RegistrationInfo/Description") or "").startswith(
        "Ship samples to the centre every 10 minutes."
    )
    recording, shipping = windows.schedules(f"<Tasks>{task(database='/srv/p.db')}{text}</Tasks>")
    assert (recording.task, shipping.task) == ("record", "ship")
    assert (shipping.where, shipping.database) == (f"{recording.where}-ship", recording.database)


def test_the_task_is_found_among_all() -> None:
    other = task(database="/srv/o.db").replace("/opt/perftrack/bin/perftrack", "notepad.exe")
    by_hand = task(database="/srv/h.db").replace("schedule install", "hand").replace("InteractiveToken", "S4U")
    own, hand = windows.schedules(f"<Tasks><!-- \\ -->{other}{task(database='/srv/a b.db')}{by_hand}</Tasks>")
    assert (own.database, own.is_own, own.where) == ("/srv/a b.db", True, job.name("/srv/a b.db"))
    assert "log" in windows.missing(own)[0]
    assert (hand.database, hand.is_own, windows.missing(hand)) == ("/srv/h.db", False, [])


def test_a_path_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="no valid UTF-8"):
        task(database="/srv/caf\udce9.db")


@pytest.mark.skipif(windows.obstacle() is None, reason="the Task Scheduler is here")
def test_is_refused_where_there_is_none(perftrack: Run) -> None:
    done = perftrack("schedule", "install", "--using", "schtasks", expect=1)
    assert done.stderr == "perftrack: the Task Scheduler is a part of Windows: give --using systemd or cron\n"
