"""The units of `perftrack schedule`: judged by systemd-analyze, and run by a real systemd in a root of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, Run

from perftrack.scheduling import job, systemd
from perftrack.settings import load

HOSTILE = "a b'c\"d%e$HOME`f` ü\\g"


def analyze(*words: str) -> str:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run([program, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def units(folder: Path, every: str, database: str) -> dict[str, str]:
    """Return the units for *database* by their names, and write them into *folder*."""
    texts = {}
    for path, text in systemd.contents(job.job(load({"database": database}), every)):
        texts[os.path.basename(path)] = text
        (folder / os.path.basename(path)).write_text(text)
    return texts


class TestTheUnits:
    @pytest.mark.parametrize("is_system", [True, False])
    @pytest.mark.parametrize("every", ["1m", "5m", "6h", "1d", "10s"])
    @pytest.mark.parametrize("folder", ["data", HOSTILE])
    def test_pass_verification(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, every: str, is_system: bool, folder: str
    ) -> None:
        monkeypatch.setattr(systemd, "is_system", lambda: is_system)
        (tmp_path / folder).mkdir()
        program = tmp_path / folder / "perftrack"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        monkeypatch.setattr(sys, "argv", [str(program)])
        (tmp_path / "units").mkdir()
        names = units(tmp_path / "units", every, str(tmp_path / folder / "perftrack.db"))
        words = [] if is_system else ["--user"]
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        analyze(*words, "--man=no", "verify", *(str(tmp_path / "units" / name) for name in names))

    @pytest.mark.parametrize(
        ("every", "seconds"), [("1m", 60), ("15m", 900), ("1h", 3600), ("12h", 43200), ("1d", 86400)]
    )
    def test_elapse_as_often_as_was_asked(self, tmp_path: Path, path: str, every: str, seconds: int) -> None:
        (timer,) = (text for name, text in units(tmp_path, every, path).items() if name.endswith(".timer"))
        calendar = re.search(r"^OnCalendar=(.*)$", timer, re.MULTILINE)
        assert calendar is not None
        told = analyze("calendar", "--iterations=3", "--base-time=2026-11-20 12:34:56", calendar[1])
        times = [
            time.mktime(time.strptime(at, "%Y-%m-%d %H:%M:%S")) for at in re.findall(r"\d{4}-\S+ [\d:]{8}", told)
        ]
        times = sorted(set(times))
        assert [later - at for at, later in pairwise(times)] == [seconds] * (len(times) - 1)
        assert len(times) == 3

    def test_say_what_an_expert_would(self, tmp_path: Path, path: str) -> None:
        service, timer = units(tmp_path, "1m", path).values()
        assert {"Type=oneshot", "Nice=10", "NoNewPrivileges=yes"} <= set(service.splitlines())
        assert "AccuracySec=1s" in timer
        assert "Persistent" not in timer + service
        assert "[Install]" not in service
        (loop,) = units(tmp_path, "10s", path).values()
        assert {"Restart=always", "[Install]"} <= set(loop.splitlines())
        assert "--every 10s" in loop

    def test_let_nothing_be_written_but_the_database(
        self, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(systemd, "is_system", lambda: True)
        texts = units(tmp_path, "1m", path)
        assert f"ReadWritePaths={os.path.dirname(path)}\n" in texts[f"{job.name(path)}.service"]
        monkeypatch.setattr(sys, "argv", [str(REPOSITORY / "bin" / "perftrack")])  # which keeps its .venv up to date
        texts = units(tmp_path, "1m", path)
        assert f"ReadWritePaths={os.path.dirname(path)} {REPOSITORY}\n" in texts[f"{job.name(path)}.service"]


@pytest.fixture
def ships(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The units that ship, by the ends of their names; written too."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    program = tmp_path / "perftrack"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "argv", [str(program)])
    config = tmp_path / "perftrack.toml"
    config.write_text('ship_to = "postgresql://web1@db.example.org/fleet"\n')
    made = job.ship_job(load({"database": path}, str(config)))
    assert made.name == f"{job.name(path)}-ship"
    texts = {}
    for file, text in systemd.contents(made):
        (tmp_path / os.path.basename(file)).write_text(text)
        texts[os.path.basename(file).removeprefix(made.name)] = text
    return texts


class TestTheUnitsThatShip:
    @pytest.mark.usefixtures("ships")
    def test_pass_verification(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
        analyze("--man=no", "verify", *(str(file) for file in tmp_path.glob("*-ship.*")))

    def test_are_delayed_each_by_a_time_of_its_own(self, ships: dict[str, str]) -> None:
        timer = ships[".timer"].splitlines()
        assert {"OnCalendar=*-*-* *:0/10:00", "RandomizedDelaySec=10min", "FixedRandomDelay=true"} <= set(timer)
        assert not any("Delay" in line for line in ships[".service"].splitlines())

    @pytest.mark.usefixtures("ships")
    def test_are_found_as_what_they_are(self, tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(systemd, "UNITS", (str(tmp_path),))
        (found,) = (each for each in systemd.found() if each.database == path)
        assert (found.kind, found.task, found.is_own) == ("systemd timer", "ship", True)


class TestWhatIsMissing:
    def test_may_be_systemd(self, perftrack: Run) -> None:
        if os.path.isdir(systemd.RUNS):
            pytest.skip("systemd runs here")
        done = perftrack("schedule", "install", "--using", "systemd", expect=1)
        assert done.stderr == "perftrack: systemd does not run here: use --using cron\n"

    def test_may_be_the_bus_of_this_user(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(systemd, "RUNS", str(tmp_path))
        monkeypatch.setattr(systemd, "is_system", lambda: False)
        monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
        said = systemd.obstacle()
        assert said is not None
        assert "log in as" in said


# A root of its own, over the real one, and in its /opt this repository and the Python that runs the tests.
BOOT = """
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys  # the settings of the kernel are the machine's
mount -t sysfs sysfs sys
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
mount -t tmpfs tmpfs sys/fs/cgroup
if [ -d /sys/fs/cgroup/systemd ]; then
    mkdir sys/fs/cgroup/systemd
    mount -t cgroup -o none,name=systemd cgroup sys/fs/cgroup/systemd
else
    umount sys/fs/cgroup
    mount -t cgroup2 cgroup2 sys/fs/cgroup
fi
mount --rbind /dev dev
rm -rf etc/cron.d etc/systemd/system/timers.target.wants
for unit in udevd networkd resolved timesyncd sysctl; do
    ln -sf /dev/null etc/systemd/system/systemd-$unit.service
done
mkdir opt/repository opt/python
mount --bind "$2" opt/repository
mount --bind "$3" opt/python
export container=lxc
exec chroot . /lib/systemd/systemd --system --unit=basic.target --log-target=null --show-status=no
"""
Inside = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def inside(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inside]:
    """Run programs where a systemd of its own runs."""
    if os.geteuid() != 0 or not os.path.exists("/lib/systemd/systemd") or not shutil.which("unshare"):
        pytest.skip("only root can boot a systemd of its own, where it is installed")
    folder = tmp_path_factory.mktemp("systemd")
    boot = ["unshare", "-fmpC", "--kill-child", "sh", "-c", BOOT, "sh", str(folder), str(REPOSITORY), sys.prefix]
    with subprocess.Popen(
        boot, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as outer:
        try:
            children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")

            def run(*command: str, expect: int | None = 0, **env: str) -> subprocess.CompletedProcess[str]:
                pid = children.read_text().split()[0]
                done = subprocess.run(
                    ["nsenter", "-t", pid, "-m", "-p", "-C", "-r", "-w", *command],
                    capture_output=True,
                    text=True,
                    check=False,
                    timeout=100,
                    env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"} | env,
                )
                assert expect is None or done.returncode == expect, done.stdout + done.stderr
                return done

            def is_booted() -> bool:
                return run("systemctl", "is-active", "basic.target", expect=None).returncode == 0

            deadline = time.monotonic() + 60
            while not (children.read_text() and is_booted()):
                if outer.poll() is not None or time.monotonic() > deadline:
                    pytest.skip("no systemd can be booted here")
                time.sleep(0.5)
            run("test", "-d", "/opt/repository/perftrack")  # it is that root
            yield run
        finally:
            outer.kill()


@pytest.fixture
def perftrack_inside(inside: Inside) -> Inside:
    """Run perftrack there, by a script as an installed copy has it."""
    script = f'#!/bin/sh\nPYTHONPATH=/opt/repository exec /opt/python/bin/python -c "{MAIN}" "$0" "$@"\n'
    inside(
        "sh",
        "-c",
        'mkdir -p "/opt/my x" && printf %s "$0" >"/opt/my x/perftrack" && chmod 755 "/opt/my x/perftrack"',
        script,
    )

    def run(*arguments: str, user: Sequence[str] = (), **options: Any) -> subprocess.CompletedProcess[str]:
        return inside(*user, "/opt/my x/perftrack", *arguments, **options)

    return run


MAIN = "import sys; sys.argv = sys.argv[1:]; from perftrack.__main__ import main; main()"


def arrived(run: Inside, *arguments: str, **options: Any) -> dict[str, Any]:
    """Return what `schedule show` tells, once there is a sample that the schedule took, and the tick has ended."""
    deadline = time.monotonic() + 120
    while True:
        shown = json.loads(run("schedule", "show", "--format=json", *arguments, **options).stdout)
        is_idle = all(each["next_run_at"] or each["kind"] != "systemd timer" for each in shown["schedules"])
        if (shown["newest_recorded_at"] and is_idle) or time.monotonic() > deadline:
            return shown
        time.sleep(1)


@pytest.mark.slow
class TestARealSystemd:
    def test_starts_the_timer_and_samples_arrive(self, inside: Inside, perftrack_inside: Inside) -> None:
        database = f"/srv/{HOSTILE}/perftrack.db"
        where = ("--database", database)
        before = inside("find", "/etc/systemd", "/root", "/srv", "-ls").stdout
        inside("systemd-run", "--uid=nobody", "sleep", "1000")
        said = perftrack_inside("schedule", "install", *where, PERFTRACK_ALL="true")
        assert "records every minute now: /etc/systemd/system/perftrack-" in said.stdout
        assert said.stderr == ""
        units = inside("sh", "-c", "cat /etc/systemd/system/perftrack-*").stdout
        perftrack_inside("schedule", "install", *where, PERFTRACK_ALL="true")
        assert inside("sh", "-c", "cat /etc/systemd/system/perftrack-*").stdout == units
        shown = arrived(perftrack_inside, *where)
        assert (shown["is_late"], shown["problem"]) == (False, None)
        (schedule,) = shown["schedules"]
        assert (schedule["kind"], schedule["missing"], schedule["is_own"]) == ("systemd timer", [], True)
        assert schedule["next_run_at"] is not None
        # as root, it reads what the kernel tells of all processes
        assert inside("/opt/python/bin/python", "-c", READ, database).stdout == "(0, 'nobody', 1)\n"

        refused = perftrack_inside("schedule", "install", "--using", "cron", *where, expect=1)
        assert "`perftrack schedule remove` first" in refused.stderr

        perftrack_inside("schedule", "install", "--every", "10s", *where)  # from a timer to a service that goes on
        assert inside("sh", "-c", "systemctl is-active perftrack-*.timer", expect=None).stdout.strip() != "active"
        (schedule,) = arrived(perftrack_inside, *where)["schedules"]
        assert (schedule["kind"], schedule["missing"]) == ("systemd service", [])
        perftrack_inside("schedule", "remove", *where)
        assert inside("sh", "-c", "systemctl list-units --all 'perftrack*' --no-legend").stdout == ""
        inside("rm", "-r", f"/srv/{HOSTILE}")
        after = inside("find", "/etc/systemd", "/root", "/srv", "-ls").stdout
        assert names(after) == names(before)

    def test_that_cannot_start_it_leaves_nothing_of_it(self, inside: Inside, perftrack_inside: Inside) -> None:
        """Nobody can write into a folder that is a file."""
        inside("sh", "-c", "echo kept >/srv/file")
        refused = perftrack_inside("schedule", "install", "--database", "/srv/file/p.db", expect=1)
        assert refused.stderr.count("\n") == 1
        assert inside("sh", "-c", "ls /etc/systemd/system | grep perftrack", expect=1).stdout == ""

    def test_that_refuses_the_timer_has_nothing_left_behind(self, inside: Inside, perftrack_inside: Inside) -> None:
        """A drop-in, for units of any name that begins so, breaks it: systemd.unit(5)."""
        drop_in = "/etc/systemd/system/perftrack-.timer.d"
        inside("sh", "-c", f"mkdir {drop_in} && printf '[Timer]\\nOnCalendar=\\n' >{drop_in}/broken.conf")
        refused = perftrack_inside("schedule", "install", "--database", "/srv/broken.db", expect=1)
        assert refused.stderr.count("\n") == 1
        assert "all was left as it was" in refused.stderr
        left = inside("sh", "-c", "find /etc/systemd/system -name 'perftrack*' -not -path '*.d*'").stdout
        assert left == ""
        inside("rm", "-r", drop_in)

    def test_runs_a_users_own_timer_and_says_that_lingering_is_off(
        self, inside: Inside, perftrack_inside: Inside
    ) -> None:
        inside("sh", "-c", "chmod 711 /root; useradd --create-home --uid 4711 perf && systemctl start user@4711")
        options = {
            "user": ("runuser", "-u", "perf", "--"),
            "HOME": "/home/perf",
            "XDG_RUNTIME_DIR": "/run/user/4711",
        }
        if inside("runuser", "-u", "perf", "--", "/opt/python/bin/python", "-c", "", expect=None).returncode:
            pytest.skip("only root may run the Python that runs the tests")
        before = inside("find", "/home/perf").stdout
        said = perftrack_inside("schedule", "install", **options)
        assert "/home/perf/.config/systemd/user/perftrack.timer" in said.stdout
        assert "loginctl enable-linger" in said.stderr
        (schedule,) = arrived(perftrack_inside, **options)["schedules"]
        assert len(schedule["missing"]) == 1
        inside("systemctl", "stop", "user@4711")
        assert (
            "cannot be reached"
            in perftrack_inside("schedule", "install", "--using", "systemd", expect=1, **options).stderr
        )
        perftrack_inside("schedule", "remove", **options)
        left = set(inside("find", "/home/perf", "-type", "f", "-o", "-type", "l").stdout.split()) - set(
            before.split()
        )
        assert all(path.startswith("/home/perf/.local/share/perftrack/") for path in left)

    def test_ships_too_and_can_leave_word_of_it(self, inside: Inside, perftrack_inside: Inside) -> None:
        pytest.importorskip("psycopg", reason="psycopg is not installed")
        where = ("--database", "/srv/ships.db", "--config", "/srv/ships.toml")
        inside("sh", "-c", "echo 'ship_to = \"postgresql://web1@/fleet?host=/nowhere\"' >/srv/ships.toml")
        perftrack_inside("record", *where)
        said = perftrack_inside("schedule", "install", "--ship", *where)
        assert said.stderr == ""
        assert "ships every 10 minutes now: /etc/systemd/system/perftrack-" in said.stdout
        shown = json.loads(perftrack_inside("schedule", "show", "--format=json", *where).stdout)["schedules"]
        assert {each["task"]: each["missing"] for each in shown} == {"record": [], "ship": []}
        (shipping,) = (each for each in shown if each["task"] == "ship")
        assert shipping["next_run_at"] is not None
        inside("systemctl", "start", os.path.basename(shipping["where"]).replace(".timer", ".service"), expect=1)
        told = json.loads(perftrack_inside("status", "--format=json", *where, expect=None).stdout)
        assert "/nowhere" in told["shipping"]["failure"]
        perftrack_inside("schedule", "remove", *where)
        inside("systemctl", "reset-failed")
        assert inside("sh", "-c", "systemctl list-units --all 'perftrack*' --no-legend").stdout == ""

    def test_leaves_a_unit_alone_that_somebody_masked(self, inside: Inside, perftrack_inside: Inside) -> None:
        where = ("--database", "/srv/other.db")
        masked = job.name("/srv/other.db")
        inside("ln", "-sf", "/dev/null", f"/etc/systemd/system/{masked}.timer")
        refused = perftrack_inside("schedule", "install", *where, expect=1)
        assert refused.stderr.count("\n") == 1
        assert "was not written by" in refused.stderr
        assert inside("sh", "-c", f"ls /etc/systemd/system/ | grep {masked}").stdout == f"{masked}.timer\n"
        inside("rm", f"/etc/systemd/system/{masked}.timer")


READ = """
import sqlite3, sys
sql = "SELECT processes_denied, username, read_bytes IS NOT NULL FROM system_sample, process_log WHERE name = 'sleep'"
print(sqlite3.connect(sys.argv[1]).execute(sql).fetchone())
"""


def names(listing: str) -> list[str]:
    return [" ".join(line.split()[10:]) for line in listing.splitlines()]
