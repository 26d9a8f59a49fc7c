"""What is found of schedules that somebody wrote by hand, by any mechanism."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from perftrack import programs
from perftrack.scheduling import crontab, plan, systemd


@pytest.fixture(autouse=True)
def nothing_of_this_system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("bin", "cron.d", "units"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(programs, "FOLDERS", (str(tmp_path / "bin"),))
    monkeypatch.setattr(crontab, "CRONTABS", (str(tmp_path / "cron.d" / "*"),))
    monkeypatch.setattr(systemd, "UNITS", (str(tmp_path / "units"),))


def test_may_be_none() -> None:
    assert plan.schedules() == []


def test_a_line_is_found_in_the_users_crontab(tmp_path: Path) -> None:
    program = tmp_path / "bin" / "crontab"
    line = "* * * * * /opt/bin/perftrack record --database /p.db"
    program.write_text(f"#!/bin/sh\necho '# * * * * * perftrack record'\necho ' {line.replace(' /', '  /')}'\n")
    program.chmod(0o755)
    (found,) = plan.schedules()
    assert found == ("cron", "crontab", "crontab -l", line, "/p.db", False, "record")


def test_no_program_that_the_search_path_offers_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who can write to a folder in root's PATH would be root when root asks for the status."""
    program = tmp_path / "path" / "crontab"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n: > {tmp_path}/was-run\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    assert plan.schedules() == []
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("* * * * * root perftrack record", True),
        ("*/5 * * * * app cd /x && ./bin/perftrack record --top 5", True),
        ("* * * * * app /opt/PerformanceTrack/bin/log_current_state_linux.sh", True),
        ("0 4 * * * app perftrack export --directory /srv", False),
        ("*/10 * * * * app sleep 7; /opt/bin/perftrack ship --to postgresql://web1@db/fleet", True),
        ("0 4 * * * app perftrack fleet upkeep postgresql:///fleet", False),
        ("# * * * * * root perftrack record", False),
    ],
)
def test_a_line_is_found_in_the_systems_crontabs(tmp_path: Path, line: str, counts: bool) -> None:
    (tmp_path / "cron.d" / "perftrack").write_text(f"SHELL=/bin/sh\n{line}\n")
    assert bool(plan.schedules()) is counts


@pytest.mark.parametrize(
    ("line", "database"),
    [
        ("* * * * * {me} perftrack record", "{home}/.local/share/perftrack/perftrack.db"),
        ("* * * * * daemon perftrack record", "/usr/sbin/.local/share/perftrack/perftrack.db"),
        ("@hourly daemon perftrack record --database /srv/p.db", "/srv/p.db"),
        ("* * * * * {me} perftrack record --database ~/p.db", "{home}/p.db"),
        ('* * * * * {me} perftrack record --database "$HOME/p.db"', "{home}/p.db"),
        ("* * * * * {me} perftrack record --config /no/such.toml", None),
        ("* * * * * {me} perftrack record 'without an end", None),
    ],
)
def test_a_line_tells_which_database(tmp_path: Path, line: str, database: str | None) -> None:
    home = tmp_path / "home"
    (tmp_path / "cron.d" / "perftrack").write_text(line.format(me=getpass.getuser()) + "\n")
    (found,) = plan.schedules()
    assert found.database == (database and database.format(home=home))


@pytest.mark.parametrize("timed", [False, True])
def test_a_unit_of_systemd_is_found(tmp_path: Path, timed: bool) -> None:
    units = tmp_path / "units"
    (units / "perftrack.service").write_text(
        "[Service]\nUser=nobody\nExecStart=-/usr/bin/perftrack record --every 10s --database /srv/100%%.db\n"
    )
    if timed:
        (units / "perftrack.timer").write_text("[Timer]\nOnCalendar=minutely\n")
    (found,) = plan.schedules()
    assert found.kind == ("systemd timer" if timed else "systemd service")
    assert (found.database, found.is_own) == ("/srv/100%.db", False)


def test_a_unit_of_systemd_may_say_the_database_in_its_environment(tmp_path: Path) -> None:
    (tmp_path / "units" / "p.service").write_text(
        '[Service]\nEnvironment=A=1 "PERFTRACK_DATABASE=/srv/a b.db"\nExecStart="/opt/my x/bin/perftrack" record\n'
    )
    (found,) = plan.schedules()
    assert found.database == "/srv/a b.db"
