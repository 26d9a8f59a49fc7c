"""`perftrack schedule` with the real crontab program, on a spool of its own or else on a crontab that is put back."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, on_a_terminal, query

from perftrack.scheduling import crontab

SPOOL = Path("/var/spool/cron/crontabs")
# In a mount namespace of its own: the spool is another, and the system's own jobs are none of this cron's.
INSIDE = 'mount --bind "$0/spool" /var/spool/cron/crontabs && mount --bind "$0/run" /run && '
INSIDE += 'mount --bind "$0/run" /etc/cron.d && mount --bind /dev/null /etc/crontab && exec "$@"'
CONTENTS = {
    "none": None,
    "empty": b"",
    "comments": b"# one\n# two\n# three\n# four\n\n# \n",
    "jobs": b"MAILTO=\"\"\n0 4 * * * backup --all 2>&1\n@reboot touch '/tmp/a b'\n",
    "percent": b"0 4 * * * date +\\%H > /tmp/x%with input%\n",
    "CRLF": b"# a comment\r\n0 4 * * * backup\r\n",
    "CR, and what Debian lists one as": b"# \r\n0 4 * * * tr -d '\\r'\n",
    "no UTF-8": b"# caf\xe9 \xff\xfe\n0 4 * * * echo \xe9\n",
    "NUL and tabs": b"# \0\n0\t4 *  * *\techo\t\n",
    "another mark": b"0 4 * * * true # perftrack schedules\n# perftrack schedule\n",
    "blank lines": b"\n\n0 4 * * * true\n\n\n",
}
HOSTILE = "a b'c\"d%e$HOME`f` ü\\g"

Perftrack = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def prefix(tmp_path: Path) -> Iterator[list[str]]:
    """The words in front of a program that let it see a crontab of its own."""
    if crontab.obstacle() is not None:
        pytest.skip("there is no crontab program")
    for name in ("spool", "run"):
        (tmp_path / "cron" / name).mkdir(parents=True)
    inside = ["unshare", "--mount", "sh", "-c", INSIDE, str(tmp_path / "cron")]
    if os.geteuid() == 0 and SPOOL.is_dir() and shutil.which("unshare"):
        shutil.chown(tmp_path / "cron/spool", "root", SPOOL.stat().st_gid)
        (tmp_path / "cron/spool").chmod(0o1730)
        if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode == 0:
            yield inside
            return
    before = crontab._read()
    yield []
    crontab._write(before, crontab._read())


@pytest.fixture
def spool(prefix: list[str]) -> Path:
    if not prefix:
        pytest.skip("only root can have a spool of its own here")
    return Path(prefix[-1]) / "spool" / "root"


@pytest.fixture
def perftrack(prefix: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Perftrack:
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("PERFTRACK_DATABASE", str(tmp_path / "data" / "perftrack.db"))

    def run(*arguments: str, expect: int = 0, program: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
        command = [*prefix, *(program or (sys.executable, "-m", "perftrack")), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=60)
        assert done.returncode == expect, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def install_text(prefix: list[str]) -> Callable[[bytes | None], None]:
    def install(text: bytes | None) -> None:
        if text is None:
            subprocess.run([*prefix, "crontab", "-r"], capture_output=True, check=False)
        else:
            subprocess.run([*prefix, "crontab", "-"], input=text, check=True)

    return install


@pytest.fixture
def listed(prefix: list[str]) -> Callable[[], bytes | None]:
    """What the crontab holds, as an editor sees it; None: there is none."""

    def read() -> bytes | None:
        env = {**os.environ, "EDITOR": "cat", "VISUAL": "cat"}
        if subprocess.run([*prefix, "crontab", "-l"], capture_output=True, check=False).returncode:
            return None
        return subprocess.run([*prefix, "crontab", "-e"], capture_output=True, env=env, check=False).stdout

    return read


class TestTheCrontab:
    @pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
    def test_is_byte_for_byte_as_before_after_installing_and_removing(
        self, perftrack: Perftrack, install_text: Callable[[bytes | None], None], listed: Callable, content: bytes
    ) -> None:
        install_text(content)
        perftrack("schedule", "install")
        held = listed()
        lines = held.splitlines(keepends=True)
        assert b"".join(lines[:-1]) == (content or b"")
        assert lines[-1].startswith(b"* * * * * ")
        assert b" record --database " in lines[-1]
        perftrack("schedule", "install")
        assert listed() == held
        perftrack("schedule", "remove")
        assert listed() == content

    def test_without_a_newline_at_the_end_is_left_alone(self, perftrack: Perftrack, spool: Path) -> None:
        """Debian's crontab takes none that has no end, and its cron runs none."""
        spool.write_bytes(b"# mine\n0 4 * * * true")
        done = perftrack("schedule", "install", expect=1)
        assert done.stderr.count("\n") == 1
        assert "missing newline before EOF" in done.stderr
        assert "crontab -e" in done.stderr
        assert spool.read_bytes() == b"# mine\n0 4 * * * true"

    def test_whose_comments_debian_would_leave_out_keeps_them(
        self, perftrack: Perftrack, spool: Path, listed: Callable
    ) -> None:
        content = b"# one\n# two\n# three\n# four\n0 4 * * * true\n"
        spool.write_bytes(content)
        perftrack("schedule", "install")
        perftrack("schedule", "remove")
        assert listed() == content

    def test_that_is_not_well_formed_is_left_alone(self, perftrack: Perftrack, spool: Path) -> None:
        spool.write_bytes(b"what is this\n")
        assert "bad minute" in perftrack("schedule", "install", expect=1).stderr
        assert spool.read_bytes() == b"what is this\n"

    def test_keeps_what_was_added_meanwhile(
        self, perftrack: Perftrack, install_text: Callable, listed: Callable
    ) -> None:
        install_text(None)
        perftrack("schedule", "install")
        install_text(b"# above\n" + listed() + b"# below\n")
        perftrack("schedule", "install", "--every", "5m")
        above, line, below = listed().splitlines()
        assert (above, below) == (b"# above", b"# below")
        assert line.startswith(b"*/5 * * * * ")
        perftrack("schedule", "remove")
        assert listed() == b"# above\n# below\n"

    def test_gets_back_a_line_that_somebody_made_a_comment(
        self, perftrack: Perftrack, install_text: Callable, listed: Callable
    ) -> None:
        install_text(b"# mine\n")
        perftrack("schedule", "install")
        installed = listed()
        install_text(installed.replace(b"* * * * *", b"#* * * * *"))
        assert "none" in perftrack("schedule", "show", expect=1).stdout
        perftrack("schedule", "install")
        assert listed() == installed


class TestTheLine:
    def test_names_all_in_full_and_records_from_anywhere(
        self, perftrack: Perftrack, listed: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / HOSTILE).mkdir()
        (tmp_path / HOSTILE / "perftrack.toml").write_text('cpu_window = 0\ndatabase = "100%.db"\n')
        monkeypatch.delenv("PERFTRACK_DATABASE")
        monkeypatch.setenv("PERFTRACK_TOP", "3")
        perftrack("schedule", "install", "--config", f"{HOSTILE}/perftrack.toml")
        line = os.fsdecode(listed().splitlines()[-1])
        assert "--top 3" in line
        assert "%" not in line.replace(r"\%", "")
        command = line.removeprefix("* * * * * ").replace(r"\%", "%")
        env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONPATH": str(REPOSITORY)}
        subprocess.run(["sh", "-c", command], cwd="/", env=env, check=True)
        assert query(tmp_path / HOSTILE / "100%.db", "SELECT count(*) FROM system_sample") == [1]
        show = json.loads(
            perftrack("schedule", "show", "--format=json", "--config", f"{HOSTILE}/perftrack.toml").stdout
        )
        (found,) = show["schedules"]
        assert found["is_own"]
        assert show["is_late"] is False

    def test_may_name_a_file_whose_name_is_no_text(
        self, perftrack: Perftrack, listed: Callable, tmp_path: Path
    ) -> None:
        database = str(tmp_path) + "/caf\udce9.db"
        perftrack("schedule", "install", "--database", database)
        assert b"/caf\xe9.db" in listed()
        perftrack("schedule", "remove", "--database", database)
        assert not listed()

    @pytest.mark.parametrize(
        ("every", "times"),
        [
            ("1m", "* *"),
            ("60", "* *"),
            ("5m", "*/5 *"),
            ("30m", "*/30 *"),
            ("1h", "0 *"),
            ("6h", "0 */6"),
            ("1d", "0 0"),
        ],
    )
    def test_is_run_as_often_as_was_asked(self, perftrack: Perftrack, every: str, times: str) -> None:
        said = perftrack("schedule", "install", "--every", every, "--using", "cron", "--dry-run").stdout
        assert said.splitlines()[1].startswith(f"{times} * * * {sys.executable} -m perftrack record ")

    @pytest.mark.parametrize("every", ["7m", "90s", "90m", "5h", "2d", "0.5m", "1.5s", "0.5s", "1s", "nonsense"])
    def test_is_not_written_for_what_cron_cannot_do(
        self, perftrack: Perftrack, install_text: Callable, listed: Callable, every: str
    ) -> None:
        install_text(None)
        done = perftrack("schedule", "install", "--every", every, "--using", "cron", expect=2)
        assert done.stderr.count("\n") == 1
        assert listed() is None

    def test_is_refused_with_a_path_that_breaks_it(self, perftrack: Perftrack, install_text: Callable) -> None:
        install_text(None)
        assert "control character" in perftrack("schedule", "install", "--database", "a\nb.db", expect=2).stderr


class TestOneScheduleForADatabase:
    @pytest.mark.parametrize(
        ("line", "is_one_too_many"),
        [
            ("* * * * * perftrack record --database {path}", True),
            ("*/5 * * * * cd /srv && PERFTRACK_DATABASE={path} ./bin/perftrack record --top 5", True),
            ("@hourly python3 -m perftrack record --database={path} >/dev/null 2>&1", True),
            ("* * * * * perftrack record --database relative.db", True),  # wherever that is
            ("PERFTRACK_DATABASE={path}\n* * * * * perftrack record", True),
            ("* * * * * perftrack record", False),
            ("* * * * * perftrack record --database /srv/other.db", False),
            ("#* * * * * perftrack record --database {path}", False),
            ("0 4 * * * perftrack export --database {path}", False),
        ],
    )
    def test_a_line_that_is_there_is_named(
        self,
        perftrack: Perftrack,
        install_text: Callable,
        listed: Callable,
        tmp_path: Path,
        line: str,
        is_one_too_many: bool,
    ) -> None:
        text = line.format(path=tmp_path / "data" / "perftrack.db")
        before = f"{text}\n".encode()
        install_text(before)
        if is_one_too_many:
            done = perftrack("schedule", "install", expect=1)
            assert done.stderr.count("\n") == 1
            assert text.splitlines()[-1] in done.stderr
            assert "written by hand" in perftrack("schedule", "show").stdout
            assert "yours to remove" in perftrack("schedule", "remove", expect=1).stderr
            assert listed() == before
        else:
            perftrack("schedule", "install")
            assert listed().startswith(before)
            assert listed().count(b"# perftrack schedule") == 1

    def test_that_was_installed_on_a_terminal_comes_with_how_to_complete_commands(
        self, prefix: list[str], path: str, tmp_path: Path, perftrack: Perftrack
    ) -> None:
        program = tmp_path / "bin" / "perftrack"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m perftrack "$@"\n')
        program.chmod(0o755)
        install = [*prefix, str(program), "schedule", "install", "--using", "cron", "--database", path]
        said = on_a_terminal(program=install, PATH=f"{program.parent}:{os.environ['PATH']}")
        assert said.splitlines()[-1].startswith("`perftrack --install-completion` ")
        assert "completion" not in perftrack("schedule", "install", "--using", "cron", "--database", path).stdout

    def test_two_databases_have_two(self, perftrack: Perftrack, install_text: Callable, listed: Callable) -> None:
        install_text(None)
        perftrack("schedule", "install")
        perftrack("schedule", "install", "--database", "/srv/other.db")
        assert len(listed().splitlines()) == 2
        perftrack("schedule", "remove")
        assert b"--database /srv/other.db" in listed()
        assert len(listed().splitlines()) == 1
        perftrack("schedule", "remove", "--database", "/srv/other.db")
        assert listed() is None


TO = "postgresql://web1@db.example.org/fleet"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A config file that says where to ship to."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    file = tmp_path / "perftrack.toml"
    file.write_text(f'ship_to = "{TO}"\ncpu_window = 0\n')
    monkeypatch.setenv("PERFTRACK_CONFIG", str(file))
    return file


def named(path: Path, uuid: str) -> None:
    path.parent.mkdir(exist_ok=True)
    query(path, "CREATE TABLE IF NOT EXISTS source (uuid TEXT)")
    query(path, "DELETE FROM source")
    query(path, f"INSERT INTO source VALUES ('{uuid}')")


class TestALineThatShips:
    @pytest.mark.parametrize("content", [None, b"", b"# mine\n0 4 * * * true\n"])
    def test_comes_with_the_other_one_and_goes_with_it(
        self, perftrack: Perftrack, install_text: Callable, listed: Callable, config: Path, content: bytes | None
    ) -> None:
        install_text(content)
        said = perftrack("schedule", "install", "--ship").stdout
        assert [line.partition(":")[0] for line in said.splitlines()] == [
            "records every minute now",
            "ships every 10 minutes now",
        ]
        held = listed()
        recording, shipping = held.splitlines()[-2:]
        assert recording.startswith(b"* * * * * ")
        assert b" record --database " in recording
        assert f" ship --database {config.parent}/data/perftrack.db --config {config} #".encode() in shipping
        assert b"postgresql" not in held
        perftrack("schedule", "install", "--ship")
        assert listed() == held
        perftrack("schedule", "remove")
        assert listed() == content

    @pytest.mark.slow
    @pytest.mark.usefixtures("config")
    def test_runs_at_a_moment_of_its_databases_own(self, perftrack: Perftrack, tmp_path: Path) -> None:
        times = set()
        for number in range(20):
            named(tmp_path / "data" / "perftrack.db", f"9f0c6b7e-0000-4000-8000-{number:012}")
            said = perftrack("schedule", "install", "--ship", "--dry-run", "--using", "cron").stdout
            line = said.splitlines()[-1]
            assert perftrack("schedule", "install", "--ship", "--dry-run", "--using", "cron").stdout == said
            match = re.match(rf"(\*|[1-9]-59)/10 \* \* \* \* (sleep [1-5]?\d; )?{re.escape(sys.executable)} ", line)
            assert match, line
            times.add(match[0])
        assert len(times) > 15
        assert len({each.split()[0] for each in times}) > 5

    @pytest.mark.usefixtures("config")
    def test_is_run_by_a_shell_as_it_stands(
        self, perftrack: Perftrack, listed: Callable, install_text: Callable
    ) -> None:
        install_text(None)
        perftrack("record")
        perftrack("schedule", "install", "--ship")
        line = os.fsdecode(listed().splitlines()[-1])
        command = line.split(None, 5)[5].replace(r"\%", "%")
        command = re.sub(r"^sleep \d+", "sleep 0", command)
        env = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(["sh", "-c", command], cwd="/", env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 75
        assert done.stderr.startswith("perftrack: fleet at db.example.org: ")

    @pytest.mark.usefixtures("config")
    def test_is_shown_and_stays_where_the_other_one_is_changed(
        self, perftrack: Perftrack, listed: Callable, install_text: Callable
    ) -> None:
        install_text(None)
        said = perftrack("schedule", "install").stdout
        assert "ship" not in said
        assert "--ship" in perftrack("schedule", "show").stdout
        perftrack("schedule", "install", "--ship")
        shipping = listed().splitlines()[1]
        said = perftrack("schedule", "install", "--every", "5m").stdout
        assert "goes on to ship: crontab -l: " in said
        assert listed().splitlines()[1] == shipping
        assert listed().startswith(b"*/5 ")
        shown = json.loads(perftrack("schedule", "show", "--format=json").stdout)["schedules"]
        assert [each["task"] for each in shown] == ["record", "ship"]
        minute = shipping.partition(b"/")[0].partition(b"-")[0].replace(b"*", b"0")
        assert shown[1]["next_run_at"][15:16] == minute.decode()
        text = perftrack("schedule", "show").stdout
        assert "\nshipping  crontab, crontab -l, written by `perftrack schedule install`: " in text
        assert "--ship`" not in text

    def test_alone_records_nothing(
        self, perftrack: Perftrack, listed: Callable, install_text: Callable, config: Path
    ) -> None:
        line = f"5 * * * * perftrack ship --database {config.parent}/data/perftrack.db --config {config}"
        install_text(f"{line}\n".encode())
        shown = json.loads(perftrack("schedule", "show", "--format=json", expect=1).stdout)["schedules"]
        assert [each["task"] for each in shown] == ["ship"]
        perftrack("schedule", "install")
        refused = perftrack("schedule", "install", "--ship", expect=1).stderr
        assert f"remove that by hand first): {line}\n" in refused
        assert len(listed().splitlines()) == 2

    @pytest.mark.usefixtures("config")
    def test_of_another_database_is_another_line(
        self, perftrack: Perftrack, listed: Callable, install_text: Callable
    ) -> None:
        install_text(None)
        perftrack("schedule", "install", "--ship")
        perftrack("schedule", "install", "--ship", "--database", "/srv/other.db")
        assert len(listed().splitlines()) == 4
        perftrack("schedule", "remove")
        assert [b"/srv/other.db" in line for line in listed().splitlines()] == [True, True]
        perftrack("schedule", "remove", "--database", "/srv/other.db")
        assert listed() is None

    def test_is_refused_where_the_scheduler_would_not_know_where_to(
        self,
        perftrack: Perftrack,
        listed: Callable,
        install_text: Callable,
        config: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        install_text(None)
        config.write_text("")
        said = perftrack("schedule", "install", "--ship", expect=2).stderr
        assert said.endswith(f'set ship_to in {config}, e.g. ship_to = "postgresql://ROLE@HOST/DATABASE"\n')
        monkeypatch.setenv("PERFTRACK_SHIP_TO", TO)
        assert f"set ship_to in {config}" in perftrack("schedule", "install", "--ship", expect=2).stderr
        monkeypatch.delenv("PERFTRACK_SHIP_TO")
        config.write_text('ship_to = "postgresql://web1:s3cret@db/fleet"')
        said = perftrack("schedule", "install", "--ship", expect=2).stderr
        assert "~/.pgpass" in said
        assert "s3cret" not in said
        assert listed() is None


class TestWhatIsMissing:
    def test_may_be_the_crontab_program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("perftrack.programs.FOLDERS", (str(tmp_path),))
        assert "install cron" in crontab.obstacle()

    def test_may_be_the_daemon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(crontab, "DAEMONS", {"no such daemon"})
        (line,) = crontab.missing()
        assert "service cron start" in line
        monkeypatch.setattr(crontab, "DAEMONS", {Path("/proc/self/comm").read_text().strip()})
        assert crontab.missing() == []

    def test_may_be_a_setting_that_only_this_shell_has(
        self, perftrack: Perftrack, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PERFTRACK_RECORD_COMMAND", "none")
        said = perftrack("schedule", "install", "--dry-run", "--using", "cron").stderr
        assert "PERFTRACK_RECORD_COMMAND" in said
        assert "perftrack.toml" in said


@pytest.mark.slow
def test_debians_cron_runs_the_line_and_samples_arrive(
    prefix: list[str], perftrack: Perftrack, spool: Path, install_text: Callable, tmp_path: Path
) -> None:
    daemon = shutil.which("cron", path="/usr/sbin:/usr/bin")
    if daemon is None:
        pytest.skip("there is no cron daemon")
    install_text(f'MAILTO=""\nPYTHONPATH={REPOSITORY}\n'.encode())
    database = tmp_path / HOSTILE / "perftrack.db"
    perftrack("schedule", "install", "--database", str(database))

    def show() -> dict[str, Any]:
        return json.loads(perftrack("schedule", "show", "--format=json", "--database", str(database)).stdout)

    with subprocess.Popen([*prefix, daemon, "-f"]) as cron:
        try:
            shown = show()
            deadline = time.monotonic() + 120
            while shown["newest_recorded_at"] is None and time.monotonic() < deadline:
                time.sleep(1)
                shown = show()
        finally:
            cron.terminate()
    assert (shown["is_late"], shown["problem"], shown["schedules"][0]["missing"]) == (False, None, [])
    perftrack("schedule", "remove", "--database", str(database))
    assert b"perftrack schedule" not in spool.read_bytes()
