"""The agent of `perftrack schedule` for macOS: its keys, and what happens around a launchctl that does as told."""

from __future__ import annotations

import plistlib
import sys
from pathlib import Path

import pytest
from conftest import Run

from perftrack import programs
from perftrack.errors import PerftrackError, UsageError
from perftrack.scheduling import job, launchd
from perftrack.settings import load

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="launchd has POSIX paths")

# launchd.plist(5), with the type of each.
DOCUMENTED = {
    "Label": str,
    "ProgramArguments": list,
    "RunAtLoad": bool,
    "KeepAlive": bool,
    "StartInterval": int,
    "StartCalendarInterval": list,
    "LegacyTimers": bool,
    "Nice": int,
}
HOSTILE = "a b'c\"d%e&<ü>$HOME"


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """This perftrack is an installed one."""
    monkeypatch.setattr(sys, "argv", ["/opt/perftrack/bin/perftrack", "schedule"])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where agents are; and a launchctl that knows what is loaded, and fails where a file says so."""
    agents = tmp_path / "home" / "Library" / "LaunchAgents"
    monkeypatch.setattr(launchd, "is_system", lambda: False)
    monkeypatch.setattr(launchd, "FOLDERS", (str(agents),))
    monkeypatch.setattr(programs, "FOLDERS", (str(tmp_path / "bin"),))
    (tmp_path / "bin").mkdir()
    (tmp_path / "loaded").mkdir()
    program = tmp_path / "bin" / "launchctl"
    program.write_text(
        f"""#!/bin/sh
        cd "{tmp_path}/loaded" || exit 9
        case $1 in
        print) [ -e "${{2##*/}}" ] || exit 113 ;;
        bootout) rm "${{2##*/}}" || exit 3 ;;
        bootstrap)
            [ ! -e ../fails ] || {{ echo "Bootstrap failed: 125: Domain does not support it" >&2; exit 125; }}
            name=${{3##*/}}; name=${{name%.plist}}
            [ ! -e "$name" ] || exit 37
            cp "$3" "$name" ;;
        esac
        """
    )
    program.chmod(0o755)
    return agents


def wanted(every: str = "1m", database: str = "/srv/p.db") -> job.Job:
    return job.job(load({"database": database}), every)


@pytest.mark.parametrize("every", ["1m", "5m", "6h", "10s"])
def test_the_agent_has_documented_keys_alone(every: str) -> None:
    made = wanted(every, f"/srv/{HOSTILE}/p.db")
    ((path, text),) = launchd.contents(made)
    keys = plistlib.loads(text.encode())
    assert {name: type(value) for name, value in keys.items()}.items() <= DOCUMENTED.items()
    assert path.endswith(f"/{keys['Label']}.plist")
    assert keys["ProgramArguments"] == made.command
    assert keys["ProgramArguments"][-3 if every == "10s" else -1] == f"/srv/{HOSTILE}/p.db"
    if every == "10s":
        assert keys["KeepAlive"] is True
        assert "StartInterval" not in keys
    else:
        assert keys["StartInterval"] == made.every_seconds


def shipping(tmp_path: Path, database: str = "/srv/p.db") -> job.Job:
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    config = tmp_path / "perftrack.toml"
    config.write_text('ship_to = "postgresql://web1@db.example.org/fleet"\n')
    return job.ship_job(load({"database": database}, str(config)))


def test_an_agent_that_ships_does_so_at_minutes_of_its_own(folder: Path, tmp_path: Path) -> None:
    made = shipping(tmp_path)
    ((_, text),) = launchd.contents(made)
    keys = plistlib.loads(text.encode())
    assert {name: type(value) for name, value in keys.items()}.items() <= DOCUMENTED.items()
    minutes = [each["Minute"] for each in keys["StartCalendarInterval"]]
    assert minutes == list(range(made.offset_seconds // 60, 60, 10))
    assert "RunAtLoad" not in keys  # else all ship at once when the power is back
    launchd.install(wanted())
    launchd.install(made)
    assert [(each.task, each.is_own) for each in launchd.found()] == [("ship", True), ("record", True)]
    for each in launchd.found():
        launchd.remove(each)
    assert list((tmp_path / "loaded").iterdir()) == []


def test_installing_twice_is_once_and_removing_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "other.plist").write_text("what is this")
    launchd.install(wanted())
    loaded_at = (tmp_path / "loaded" / wanted().name).stat().st_mtime_ns
    launchd.install(wanted())
    assert (tmp_path / "loaded" / wanted().name).stat().st_mtime_ns == loaded_at  # what runs goes on
    (found,) = launchd.found()
    assert (found.database, found.is_own, launchd.missing(found)) == ("/srv/p.db", True, [])
    launchd.install(wanted("5m"))
    (found,) = launchd.found()
    assert b"<integer>300</integer>" in (tmp_path / "loaded" / Path(found.where).stem).read_bytes()
    launchd.remove(found)
    assert launchd.found() == []
    assert [path.name for path in folder.iterdir()] == ["other.plist"]
    assert list((tmp_path / "loaded").iterdir()) == []


def test_what_cannot_be_loaded_leaves_all_as_it_was(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "fails").touch()
    with pytest.raises(PerftrackError, match=r"Domain does not support it.*--using cron"):
        launchd.install(wanted())
    assert list(folder.iterdir()) == []


def test_what_somebody_wrote_by_hand_is_left_alone(folder: Path) -> None:
    made = wanted()
    folder.mkdir(parents=True)
    path = folder / f"{made.name}.plist"
    path.write_bytes(plistlib.dumps({"Label": made.name, "ProgramArguments": ["/bin/perftrack", "record"]}))
    before = path.read_bytes()
    with pytest.raises(PerftrackError, match="was not written by"):
        launchd.install(made)
    assert path.read_bytes() == before
    (found,) = launchd.found()
    assert (found.line, found.is_own) == ("/bin/perftrack record", False)


def test_a_path_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="no valid UTF-8"):
        launchd.contents(wanted(database="/srv/caf\udce9.db"))


@pytest.mark.skipif(sys.platform == "darwin", reason="launchd is here")
def test_is_refused_where_there_is_none(perftrack: Run) -> None:
    done = perftrack("schedule", "install", "--using", "launchd", expect=1)
    assert done.stderr == "perftrack: launchd is a part of macOS: give --using systemd or cron\n"
