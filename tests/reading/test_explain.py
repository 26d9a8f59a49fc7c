"""`perftrack explain`: on nights of which it is known who did what, it names them, and nobody where nobody did."""

from __future__ import annotations

import json
import pickle
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import nights
import pytest
from conftest import Run, cgroup_row
from machine import Machine, process
from nights import HOURS, NIGHT, Nights

from perftrack.reading.explain.explanations import Explanation, explanations
from perftrack.reading.queries import TimeRange
from perftrack.storage import opening

# Of each kind so many nights; of twenty, one may be told otherwise.
SEEDS = pytest.mark.parametrize(
    "seeds", [pytest.param(range(4), id="few"), pytest.param(range(20), marks=pytest.mark.slow, id="all")]
)
RIGHT = 0.95
END = NIGHT + timedelta(hours=HOURS, seconds=1)
WHOLE = ("--since", f"{NIGHT}Z", "--until", f"{END}Z")
Culprit = Callable[[Nights, datetime], str]


def fortnight(path: Path, *, has_units: bool) -> Path:
    """Make a database of two weeks before a night, with what goes on beside it."""
    with closing(opening.open_current(str(path))) as connection:
        machine = Nights(connection, seed=0, has_units=has_units)
        machine.go_on(NIGHT)
        path.with_suffix(".pickle").write_bytes(pickle.dumps(machine.state()))
    return path


@pytest.fixture(scope="module")
def of_names(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fortnight(tmp_path_factory.mktemp("fortnight") / "names.db", has_units=False)


@pytest.fixture(scope="module")
def of_units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fortnight(tmp_path_factory.mktemp("fortnight") / "units.db", has_units=True)


Night = Callable[..., tuple[str, set[str]]]


@pytest.fixture
def night(of_names: Path, tmp_path: Path) -> Night:
    return nights_after(of_names, tmp_path)


@pytest.fixture
def night_of_units(of_units: Path, tmp_path: Path) -> Night:
    return nights_after(of_units, tmp_path)


def nights_after(before: Path, folder: Path) -> Night:
    """Return what records the night of a seed on the machine of a fortnight: the database, and the culprits."""

    def record(seed: int, *culprits: Culprit) -> tuple[str, set[str]]:
        path = str(folder / f"{seed}.db")
        shutil.copy(before, path)
        with closing(opening.open_current(path)) as connection:
            machine = Nights(connection, seed + 1)
            machine.set_state(pickle.loads(before.with_suffix(".pickle").read_bytes()))
            begin = NIGHT + timedelta(minutes=nights.MINUTES * machine.chance.randrange(6, 60))
            commands = {
                culprit(machine, begin + timedelta(minutes=20 * number)) for number, culprit in enumerate(culprits)
            }
            machine.go_on(NIGHT + timedelta(hours=HOURS))
        return path, commands

    return record


def explained(path: str) -> Explanation:
    (found,) = explanations(path, TimeRange(NIGHT.replace(tzinfo=UTC), END.replace(tzinfo=UTC)))
    return found


def named(found: Explanation) -> set[str | None]:
    """Return the command lines of all who are named."""
    owners = [owner for story in found.stories for excess in story.excesses for owner in excess.owners]
    return {owner.largest.process.command for owner in owners if owner.largest}


def is_told(night: Night, seed: int, *culprits: Culprit) -> bool:
    """Return whether those who are named in the night of *seed* are the culprits, and nobody else."""
    path, commands = night(seed, *culprits)
    return named(explained(path)) == commands


@SEEDS
@pytest.mark.parametrize(
    "culprits",
    [[nights.burner], [nights.leak], [nights.fork_storm], [nights.disk_hog], [nights.burner, nights.disk_hog]],
    ids=lambda culprits: " and ".join(each.__name__ for each in culprits),
)
def test_the_culprits_are_named_and_nobody_else(night: Night, culprits: list[Culprit], seeds: range) -> None:
    right = [seed for seed in seeds if is_told(night, seed, *culprits)]
    assert len(right) >= RIGHT * len(seeds), right


@SEEDS
@pytest.mark.parametrize(
    "culprits",
    [[nights.fork_storm], [nights.disk_hog]],
    ids=lambda culprits: " and ".join(each.__name__ for each in culprits),
)
def test_the_units_of_the_culprits_are_named_and_no_others(
    night_of_units: Night, culprits: list[Culprit], seeds: range
) -> None:
    """Also of short programs, of which no sample finds one."""
    right = []
    for seed in seeds:
        path, commands = night_of_units(seed, *culprits)
        units = {
            owner.key for story in explained(path).stories for excess in story.excesses for owner in excess.owners
        }
        right += [seed] if units == {nights.unit_of(command) for command in commands} else []
    assert len(right) >= RIGHT * len(seeds), right


@SEEDS
def test_where_nobody_did_anything_nobody_is_named(night: Night, seeds: range) -> None:
    """Though there is a job of every night, which begins and ends a little earlier or later."""
    for seed in seeds:
        path, _ = night(seed)
        assert explained(path).stories == [], seed


def text_of(perftrack: Run, *arguments: str) -> str:
    return " ".join(perftrack("explain", *arguments).stdout.split())


def document_of(perftrack: Run, *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(perftrack("explain", "--format", "json", *arguments).stdout)
    return found


class TestOfTwoWeeks:
    def test_a_sentence_says_when_how_much_who_and_who_began_it(self, night: Night, perftrack: Run) -> None:
        path, _ = night(0, job_of_cron)
        assert text_of(perftrack, "--database", path, *WHOLE).startswith(
            "From 00:00 to 00:30 CPU was 75 % (usually 28 % at this hour), memory rose to 61 % (usually 44 %). 98 % "
            "of the excess CPU time and 89 % of the excess memory was python3: python3 /srv/backup.py (PID 4242, "
            "root), started at 00:00:30 by cron through sh; memory rose by 1.2 GiB, 3.0 GiB were written."
        )

    def test_a_program_gets_every_figure(self, night: Night, perftrack: Run) -> None:
        path, _ = night(0, job_of_cron)
        (story,) = document_of(perftrack, "--database", path, *WHOLE)["stories"]
        assert (story["since"], story["until"]) == ("2026-11-21T00:00:00Z", "2026-11-21T00:30:00Z")
        cpu = story["stretches"][0]
        assert (cpu["metric"], cpu["samples"], cpu["usual_days"]) == ("cpu", 3, 14)
        of_cpu = story["excesses"][0]
        assert of_cpu["used"] == pytest.approx(cpu["mean"] / 100 * 2 * 1800 * 1000, rel=1e-3)
        assert (of_cpu["compared_with"], of_cpu["compared_at_the_same_hour"]) == (14, True)
        (owner,) = of_cpu["owners"]
        assert owner["share"] + of_cpu["others_share"] + of_cpu["unknown_share"] == pytest.approx(1)
        assert owner["largest"]["grown"] == pytest.approx(3 * 570_000, rel=0.02)
        assert [parent["name"] for parent in owner["largest"]["parents"]] == ["sh", "cron"]

    def test_at_an_instant_it_tells_of_what_holds_it_or_is_nearest(self, night: Night, perftrack: Run) -> None:
        path, _ = night(0, job_of_cron, unrecorded)
        of = ("--database", path)
        assert text_of(perftrack, *of, "--at", "2026-11-21 00:14").startswith("From 00:00 to 00:30 CPU was 75 %")
        nothing = "Nothing unusual at 2026-11-20 21:00:00. The nearest that is unusual: From 20:00 to 20:30 CPU was"
        assert text_of(perftrack, *of, "--at", "2026-11-20 21:00").startswith(nothing)

    def test_what_nobody_who_is_recorded_did_has_no_known_owner(self, night: Night, perftrack: Run) -> None:
        path, _ = night(0, unrecorded)
        assert "has no known owner" in text_of(perftrack, "--database", path, *WHOLE)
        (of_cpu,) = document_of(perftrack, "--database", path, *WHOLE)["stories"][0]["excesses"]
        assert (of_cpu["owners"], of_cpu["unknown_share"]) == ([], pytest.approx(1, abs=0.1))

    def test_without_anything_unusual_it_says_so_and_with_what_it_compares(
        self, night: Night, perftrack: Run
    ) -> None:
        path, _ = night(0)
        assert text_of(perftrack, "--database", path, *WHOLE) == (
            "Nothing unusual from 2026-11-20 18:00:00 to 2026-11-21 06:00:00. "
            "Usual is what 14 days before were at the same hour."
        )


def job_of_cron(night: Nights, _: datetime) -> str:
    """A backup that takes a CPU for half an hour from midnight on."""
    begin = datetime(2026, 11, 21)

    def work(at: datetime) -> None:
        if begin < at <= begin + timedelta(minutes=30):
            night.works("sh -c backup", 4241, 0, 1, 0, ppid=500, username="root")
            night.works("python3 /srv/backup.py", 4242, 95, 1200, 1748, ppid=4241, username="root")

    night.events.append(work)
    return "python3 /srv/backup.py"


def unrecorded(night: Nights, _: datetime) -> str:
    """A program that takes a CPU for half an hour, and is not recorded."""
    begin = datetime(2026, 11, 20, 20)

    def work(at: datetime) -> None:
        if begin < at <= begin + timedelta(minutes=30):
            night.load["other_cpu"] += 90

    night.events.append(work)
    return ""


HOUR = ("--since", "2026-11-20 12:00", "--until", "2026-11-20 13:00")


class TestOfLittle:
    """A machine that has been recorded for minutes."""

    @pytest.fixture
    def machine(self, connection: sqlite3.Connection) -> Machine:
        return Machine(connection)

    def tick(self, machine: Machine, *processes: dict[str, Any], cpu_ms: int = 3000, **changed: Any) -> None:
        memory = {"mem_total_bytes": 8 << 30, "mem_used_bytes": 3 << 30}
        machine.tick(*processes, cpu_user_ms=cpu_ms, cpu_idle_ms=120_000 - cpu_ms, extra=memory, **changed)

    def test_one_minute_is_found_in_ten_and_it_says_how_little_is_recorded(
        self, machine: Machine, perftrack: Run
    ) -> None:
        for minute in range(10):
            storm = process(50_000, name="storm", command="bash storm.sh", pid=4242, ppid=77, started_ticks=124_300)
            busy = minute == 4
            self.tick(machine, process(minute), *([storm] if busy else []), cpu_ms=55_000 if busy else 3000)
        assert text_of(perftrack, *HOUR) == (
            "From 12:04:00 to 12:05:00 CPU was 46 % (usually 2.5 %). 96 % of the excess CPU time was storm: "
            "bash storm.sh (PID 4242, root), started at 11:00:00 by PID 77, which was not recorded. "
            "4 % of the excess CPU time has no known owner. "
            "No samples between 12:10 and 13:00: the machine did not record. "
            "There is little to compare with, only 9 min recorded: usual is what most of it was."
        )

    def test_of_three_samples_nothing_is_said(self, machine: Machine, perftrack: Run) -> None:
        for cpu_ms in (3000, 100_000, 3000):
            self.tick(machine, cpu_ms=cpu_ms)
        text = text_of(perftrack, *HOUR)
        assert "There is nothing to compare with, only 3 samples recorded." in text
        assert "unusual" not in text

    def test_times_without_samples_are_told(self, machine: Machine, perftrack: Run) -> None:
        for minute in range(20):
            self.tick(machine, after=1200 if minute == 10 else 60)
        assert "No samples between 12:10 and 12:30: the machine did not record." in text_of(perftrack, *HOUR)
        assert text_of(perftrack, "--at", "2026-11-20 12:20").startswith(
            "What was at 2026-11-20 12:20:00 was not recorded."
        )

    def test_a_time_without_samples_that_is_short_is_told_by_the_second(
        self, machine: Machine, perftrack: Run
    ) -> None:
        for second in range(20):
            self.tick(machine, after=20 if second == 10 else 1)
        assert "No samples between 12:00:10 and 12:00:30: the machine" in text_of(perftrack, *HOUR)

    def test_that_none_comes_is_told_of_the_present_alone(self, machine: Machine, perftrack: Run) -> None:
        machine.clock = datetime.now(UTC).replace(tzinfo=None) - timedelta(minutes=30)
        for _ in range(20):
            self.tick(machine)
        assert ": the machine does not record." in text_of(perftrack)
        earlier = text_of(perftrack, "--until", "5m")
        assert "does not record" not in earlier
        assert ": the machine did not record." in earlier

    def test_kills_for_want_of_memory_are_told_with_the_unit(self, machine: Machine, perftrack: Run) -> None:
        for minute in range(20):
            kills = int(minute >= 10)
            groups = [cgroup_row(path, oom_kills=kills) for path in ("/system.slice", "/system.slice/shop.service")]
            self.tick(machine, cgroups=groups, oom_kills=int(minute == 10))
        killed = "The kernel killed 1 process for want of memory between 12:10 and 12:11, in shop.service."
        assert killed in text_of(perftrack, *HOUR)
        (found,) = document_of(perftrack, *HOUR)["killed_for_want_of_memory"]
        assert (found["kills"], found["units"]) == (1, ["shop.service"])

    def test_reboots_are_told(self, machine: Machine, perftrack: Run) -> None:
        for minute in range(20):
            if minute == 10:
                machine.names["boot"] = "boot-2"
                machine.uptime_seconds = 0.0
            self.tick(machine)
        assert "The machine was rebooted at " in text_of(perftrack, *HOUR)

    def test_each_of_several_machines_is_told(self, connection: sqlite3.Connection, perftrack: Run) -> None:
        for host in ("web1", "web2"):
            machine = Machine(connection, boot=host, host=host)
            for minute in range(10):
                self.tick(machine, cpu_ms=90_000 if (host, minute) == ("web2", 5) else 3000)
        text = text_of(perftrack, *HOUR)
        assert "web1: Nothing unusual from " in text
        assert "web2: From 12:05:00 to 12:06:00 CPU was 75 %" in text
        assert [len(each["stories"]) for each in document_of(perftrack, *HOUR)["machines"]] == [0, 1]

    def test_no_samples_are_no_answer(self, machine: Machine, perftrack: Run) -> None:
        assert "holds no samples yet" in perftrack("explain", expect=1).stderr
        self.tick(machine)
        assert (
            "no samples in this range"
            in perftrack("explain", "--since", "2020-01-01", "--until", "2020-01-02", expect=1).stderr
        )

    @pytest.mark.parametrize(
        "arguments", [("--since", "2026-01-01"), ("--at", "12:00", "--since", "11:00"), ("--at", "nonsense")]
    )
    def test_what_makes_no_sense_is_refused(self, perftrack: Run, arguments: tuple[str, ...]) -> None:
        assert len(perftrack("explain", *arguments, expect=2).stderr.splitlines()) == 1
