"""`perftrack export --new`: what came since the last time is appended, each row once."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from conftest import REPOSITORY, Run, process_row, query, sample
from exported import PROCESS_HEADER, SYSTEM_HEADER, minute, record_minutes, record_mixed

from perftrack.errors import PerftrackError
from perftrack.reading.export import files as exporting
from perftrack.reading.export import growing
from perftrack.reading.export.logs import CSV, Form
from perftrack.reading.export.new import export_new
from perftrack.reading.queries import TimeRange
from perftrack.storage import opening
from perftrack.storage.insertion import insert_sample

UNPACK = {"": ["cat"], ".gz": ["gzip", "-dcf"], ".zst": ["zstd", "-dcf"]}


def text(file: Path) -> str:
    command = UNPACK[file.suffix if file.suffix in UNPACK else ""]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return subprocess.run([*command, str(file)], capture_output=True, check=True).stdout.decode()


def sample_ids(written: str, output_format: str) -> list[int]:
    """The ids of the samples in the text of a wide file of processes, of which each sample has one."""
    if output_format == "jsonl":
        return [json.loads(line)["sample_id"] for line in written.splitlines()]
    return [int(row["sample_id"]) for row in csv.DictReader(io.StringIO(written, newline=""))]


class TestWhatCameSince:
    @pytest.mark.parametrize("suffix", UNPACK)
    @pytest.mark.parametrize("output_format", ["csv", "jsonl"])
    def test_gives_in_the_end_what_one_export_does(
        self,
        connection: sqlite3.Connection,
        path: str,
        tmp_path: Path,
        output_format: str,
        suffix: str,
    ) -> None:
        files = [str(tmp_path / f"{log}.{output_format}{suffix}") for log in "sp"]
        form = Form(output_format, wide=True)  # type: ignore[arg-type]
        counts = []
        for number in (0, 5, 0, 12, 1):
            record_mixed(connection, number, begin=len(query(connection, "SELECT id FROM system_sample")))
            counts.append(export_new(path, *files, form).system_rows)
        assert counts == [0, 5, 0, 12, 1]
        exporting.export(path, str(tmp_path / "s"), str(tmp_path / "p"), TimeRange(), form=form)
        for file, name in zip(files, "sp", strict=True):
            assert text(Path(file)) == (tmp_path / name).read_bytes().decode()
            assert stat.S_IMODE(os.stat(file).st_mode) == stat.S_IMODE(os.stat(f"{file}.position").st_mode) == 0o600

    def test_is_by_default_in_the_originals_columns_and_says_nothing(
        self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path
    ) -> None:
        for number in range(3):
            insert_sample(connection, sample(process_row(), taken_at=minute(number)))
            done = perftrack("export", "--new")
            assert (done.stdout, done.stderr) == ("", "")
        work = tmp_path / "work"
        for name, header in (("system_log.csv", SYSTEM_HEADER), ("process_log.csv", PROCESS_HEADER)):
            lines = (work / name).read_bytes().decode().split("\r\n")
            assert (lines[0], len(lines)) == (header, 5)
        assert sorted(os.listdir(work)) == [
            *("process_log.csv", "process_log.csv.position", "system_log.csv", "system_log.csv.position")
        ]

    def test_is_what_came_late_too(self, connection: sqlite3.Connection, path: str, tmp_path: Path) -> None:
        file = tmp_path / "p.jsonl"
        for number in (5, 1, 3):  # one that waited, and one that was imported
            insert_sample(connection, sample(process_row(), taken_at=minute(number)))
            export_new(path, None, str(file), Form("jsonl"))
        found = [json.loads(line)["taken_at"][14:16] for line in file.read_text().splitlines()]
        assert found == ["05", "01", "03"]

    def test_is_found_by_the_samples_keys(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its cost does not grow with the history."""
        from perftrack.storage import engine

        record_minutes(connection, 3)
        statements: list[str] = []
        connect = engine.connect

        def traced(*arguments: object, **options: object) -> sqlite3.Connection:
            opened = connect(*arguments, **options)  # type: ignore[arg-type]
            opened.set_trace_callback(statements.append)
            return opened

        monkeypatch.setattr(engine, "connect", traced)
        for wide in (False, True):
            export_new(path, str(tmp_path / f"s{wide}"), str(tmp_path / f"p{wide}"), Form(wide=wide))
        selects = [sql for sql in statements if "sample" in sql and sql.startswith("SELECT")]
        assert len(selects) >= 8
        for sql in selects:
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}")]
            assert not [step for step in plan if step.startswith("SCAN") and step != "SCAN boot"], (sql, plan)


class TestWhatAKilledExportLeft:
    def test_is_cut_off(self, connection: sqlite3.Connection, path: str, tmp_path: Path) -> None:
        file = tmp_path / "p.jsonl"
        record_minutes(connection, 1)
        export_new(path, None, str(file), Form("jsonl"))
        with file.open("a") as appended:
            appended.write('{"sample_id":2' * 1000)
        insert_sample(connection, sample(process_row(), taken_at=minute(1)))
        export_new(path, None, str(file), Form("jsonl"))
        assert sample_ids(file.read_text(), "jsonl") == [1, 2]

    def test_is_cut_off_at_once_where_it_failed_itself(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path
    ) -> None:
        file = tmp_path / "p.jsonl"
        record_minutes(connection, 1)
        export_new(path, None, str(file), Form("jsonl"))
        before = {each.name: each.read_bytes() for each in tmp_path.glob("p.*")}
        insert_sample(connection, sample(process_row(), taken_at=minute(1)))

        def fails(done: int, total: int) -> None:
            raise OSError(28, "No space left on device")

        with pytest.raises(PerftrackError, match=r"^cannot append to .*: No space left on device$"):
            export_new(path, None, str(file), Form("jsonl"), progress=fails)
        assert {each.name: each.read_bytes() for each in tmp_path.glob("p.*")} == before

    def test_is_cut_off_at_once_where_the_disk_is_full(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path
    ) -> None:
        record_minutes(connection, 1)
        for name in ("p.csv", "p.csv.gz"):
            export_new(path, None, str(tmp_path / name), Form())
        before = {each.name: each.read_bytes() for each in tmp_path.glob("p.*")}
        record_mixed(connection, 100, begin=1)
        for name in ("p.csv", "p.csv.gz"):
            export = f"{sys.executable} -m perftrack export --new --database {path} --process-csv {name}"
            limited = ["sh", "-c", f"trap '' XFSZ; ulimit -f 2; exec {export} --system-csv s-{name}"]
            done = subprocess.run(limited, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert (done.returncode, done.stderr) == (1, f"perftrack: cannot append to {name}: File too large\n")
        assert {each.name: each.read_bytes() for each in tmp_path.glob("p.*")} == before


class TestRotation:
    """As logrotate does it: the file is gone, or an empty one is there (create, copytruncate)."""

    @pytest.mark.parametrize("leaves", ["nothing", "an empty file"])
    @pytest.mark.parametrize("suffix", UNPACK)
    def test_begins_a_new_file_that_goes_on(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path, leaves: str, suffix: str
    ) -> None:
        file = tmp_path / f"p.csv{suffix}"
        found = []
        for number in range(3):
            insert_sample(connection, sample(process_row(), taken_at=minute(number)))
            export_new(path, None, str(file), Form())
            export_new(path, None, str(file), Form())
            found.append(text(file))
            file.rename(tmp_path / f"{number}{suffix}")
            if leaves == "an empty file":
                file.touch()
        row = "3.0,{},python,python3,100,4096,8192\r\n"
        assert found == [f"{PROCESS_HEADER}\r\n{row.format(minute(number)[:19])}" for number in range(3)]

    def test_that_is_followed_by_a_kill_goes_on_where_the_old_file_ended(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = tmp_path / "p.jsonl"
        record_minutes(connection, 3)
        export_new(path, None, str(file), Form("jsonl"))
        file.rename(tmp_path / "old")
        insert_sample(connection, sample(process_row(), taken_at=minute(10)))
        with monkeypatch.context() as patch:
            patch.setattr(growing.GrowingFile, "save", lambda *_, **__: os.write(1, b""))  # killed before it
            patch.setattr(growing.GrowingFile, "_cut", lambda _: None)
            export_new(path, None, str(file), Form("jsonl"))
        assert len(file.read_text().splitlines()) == 1
        insert_sample(connection, sample(process_row(), taken_at=minute(11)))
        export_new(path, None, str(file), Form("jsonl"))
        assert sample_ids(file.read_text(), "jsonl") == [4, 5]


class TestAFileThatIsAnother:
    """It is left as it is, and one line says what to do."""

    @pytest.fixture
    def begun(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Path:
        monkeypatch.chdir(tmp_path)
        record_minutes(connection, 3)
        export_new(path, None, "p.csv", Form())
        insert_sample(connection, sample(process_row(), taken_at=minute(10)))
        return tmp_path / "p.csv"

    @staticmethod
    def refused(path: str, file: str = "p.csv", form: Form = CSV, host: str | None = None) -> str:
        with pytest.raises(PerftrackError) as refusal:
            export_new(path, None, file, form, host=host)
        assert refusal.value.exit_code == 1
        return str(refusal.value)

    @pytest.mark.parametrize(
        "change",
        [
            lambda file: file.write_bytes(file.read_bytes()[:-1]),
            lambda file: file.write_bytes(b"x" * 100_000),
            lambda file: file.write_bytes(file.read_bytes().replace(b"4096", b"4097")),
        ],
        ids=["shorter", "longer", "changed"],
    )
    def test_is_refused(self, path: str, begun: Path, change: Callable[[Path], None]) -> None:
        change(begun)
        before = begun.read_bytes()
        assert self.refused(path) == (
            "p.csv is another file than the last export left, or was changed since: move it away, and the next "
            "export begins a new one"
        )
        assert begun.read_bytes() == before
        begun.rename(begun.with_name("away"))
        export_new(path, None, "p.csv", Form())
        assert len(begun.read_text().splitlines()) == 2

    def test_that_was_never_appended_to_is_refused(
        self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path
    ) -> None:
        record_minutes(connection, 1)
        mine = tmp_path / "work" / "process_log.csv"
        mine.write_text("mine")
        done = perftrack("export", "--new", expect=1)
        assert "process_log.csv is there, and no process_log.csv.position tells which samples it has" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert mine.read_text() == "mine"

    @pytest.mark.usefixtures("begun")
    @pytest.mark.parametrize(
        ("form", "host", "what"),
        [
            (Form(wide=True), None, "set of columns"),
            (Form(time_format="utc"), None, "--time"),
            (Form(), "*", "--host"),
            (Form(spreadsheet_safe=True), None, "--spreadsheet-safe"),
            (Form("jsonl"), None, "--format"),
        ],
    )
    def test_of_other_options_is_refused(self, path: str, form: Form, host: str | None, what: str) -> None:
        said = self.refused(path, form=form, host=host)
        assert said.startswith(f"p.csv was begun with another {what}")
        assert said.endswith(": move it away, and the next export begins a new one")

    @pytest.mark.usefixtures("begun")
    def test_of_another_database_is_refused(self, tmp_path: Path, path: str) -> None:
        other = str(tmp_path / "other.db")
        with closing(opening.open_current(other)) as connection:
            for number in range(5):
                insert_sample(connection, sample(process_row(), boot="another", taken_at=minute(number)))
        assert "p.csv was written from another database than" in self.refused(other)
        older = str(tmp_path / "older.db")
        query(path, f"VACUUM INTO '{older}'")
        query(older, "DELETE FROM process_sample")
        query(older, "DELETE FROM system_sample WHERE id > 2")
        assert "or from a newer copy of it" in self.refused(older)

    @pytest.mark.usefixtures("begun")
    def test_of_which_the_newest_sample_was_purged_goes_on(self, path: str, begun: Path) -> None:
        query(path, "DELETE FROM process_sample WHERE sample_id <= 3")
        query(path, "DELETE FROM system_sample WHERE id <= 3")
        export_new(path, None, "p.csv", Form())
        assert len(begun.read_text().splitlines()) == 5

    @pytest.mark.parametrize("damaged", ["{", "[]", '{"sample": {"id": 1}}', "\xff"])
    def test_with_a_damaged_position_is_refused(self, path: str, begun: Path, damaged: str) -> None:
        begun.with_name("p.csv.position").write_text(damaged, encoding="latin-1")
        assert "p.csv.position cannot be read: move it and p.csv away" in self.refused(path)

    def test_behind_a_link_or_of_another_kind_is_refused(self, path: str, begun: Path) -> None:
        begun.with_name("link").symlink_to(begun)
        assert self.refused(path, "link").startswith("link is a link")
        os.mkfifo(begun.with_name("fifo"))
        assert self.refused(path, "fifo") == "cannot append to fifo: it is no regular file"

    @pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="root alone gives files away")
    def test_of_another_user_is_refused(self, path: str, begun: Path) -> None:
        os.chown(begun, 65534, 65534)
        assert self.refused(path) == "cannot append to p.csv: it belongs to another user"


class TestOptions:
    @pytest.mark.usefixtures("connection")
    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--since", "2h"], "leave --since and --until away"),
            (["--until", "2h"], "leave --since and --until away"),
            (["--process-csv", "-"], "--new appends to files"),
            (["--format", "parquet"], "a parquet file cannot be made longer"),
        ],
    )
    def test_that_do_not_go_with_it(self, perftrack: Run, tmp_path: Path, options: list[str], said: str) -> None:
        done = perftrack("export", "--new", *options, expect=2)
        assert said in done.stderr
        assert os.listdir(tmp_path / "work") == []

    def test_lead_to_no_file_of_perftracks_own(self, connection: sqlite3.Connection, perftrack: Run) -> None:
        record_minutes(connection, 1)
        own = "x.position"
        perftrack("record", "--database", own)
        done = perftrack("export", "--new", "--process-csv", "x", "--database", own, expect=2)
        assert done.stderr.startswith("perftrack: x.position is the database")


@pytest.mark.slow
class TestTwoAtOnce:
    def test_one_goes_on_and_the_other_ends_with_75(
        self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path
    ) -> None:
        record_minutes(connection, 1)
        perftrack("export", "--new")
        position = tmp_path / "work" / "process_log.csv.position"
        before = (tmp_path / "work" / "process_log.csv").read_bytes()
        with position.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            done = perftrack("export", "--new", expect=75)
        assert done.stderr == "perftrack: another export is appending to process_log.csv; try again later\n"
        assert (tmp_path / "work" / "process_log.csv").read_bytes() == before
        perftrack("export", "--new")

    def test_and_four_at_once_write_each_row_once(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path
    ) -> None:
        record_minutes(connection, 50)
        command = [sys.executable, "-m", "perftrack", "export", "--new", "--wide", "--database", path]
        for number in range(2):
            insert_sample(connection, sample(process_row(), taken_at=minute(100 + number)))
            runs = [subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) for _ in range(4)]
            codes = {run.wait(timeout=60) for run in runs}
            assert codes in ({0}, {0, 75})
        assert sample_ids((tmp_path / "process_log.csv").read_text(), "csv") == list(range(1, 53))


# Kills an export before and behind each STRIDEth call of those that change files, until one ends by itself.
KILLED = """
import os, signal, sqlite3, sys
from itertools import count
from conftest import process_row, sample
from exported import minute
from perftrack.reading.export.logs import CSV, Form
from perftrack.reading.export.new import export_new
from perftrack.storage import insertion, opening

path, file, output_format, rotates, stride = sys.argv[1:]
CALLS = ("open", "ftruncate", "fsync", "write", "unlink", "replace", "close")

def export(kill_at):
    child = os.fork()
    if child == 0:
        seen = count(1)
        def step():
            if next(seen) == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        def killed_around(call):
            def called(*arguments, **options):
                step()
                result = call(*arguments, **options)
                step()
                return result
            return called
        export_new(path, None, f"{file}.warm", Form(output_format, wide=True))
        for name in CALLS:
            setattr(os, name, killed_around(getattr(os, name)))
        export_new(path, None, file, Form(output_format, wide=True))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

connection = opening.open_current(path)
for number in count(1):
    rows = [process_row(pid=pid) for pid in range(300)]  # several writes of the stream
    insertion.insert_sample(connection, sample(*rows, taken_at=minute(number)))
    code = export(1 + (number - 1) * int(stride))
    if code == 0:
        break
    assert code == -signal.SIGKILL, code
    assert export(None) == 0
    if rotates == "rotates":
        os.rename(file, f"{file}.{number:04}")
print(number)
"""


@pytest.mark.parametrize(
    ("name", "rotates", "stride"),
    [
        ("p.csv", "stays", 6),
        ("p.jsonl.gz", "rotates", 8),
        *(
            pytest.param(name, rotates, 1, marks=pytest.mark.faults)
            for name in ("p.csv", "p.jsonl.gz", "p.jsonl.zst")
            for rotates in ("stays", "rotates")
        ),
    ],
)
def test_a_kill_at_any_moment_gives_each_row_once(
    path: str, tmp_path: Path, name: str, rotates: str, stride: int
) -> None:
    file, output_format = tmp_path / name, name.split(".")[1]
    command = [sys.executable, "-c", KILLED, path, str(file), output_format, rotates, str(stride)]
    folders = os.pathsep.join([*(str(REPOSITORY / folder) for folder in ("tests", "tests/reading")), str(REPOSITORY)])
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": folders}, capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    samples = int(done.stdout)
    assert samples > 20 / stride
    found = []
    for each in [*sorted(tmp_path.glob(f"{name}.0*")), file]:
        program = next((command for suffix, command in UNPACK.items() if suffix and suffix in each.name), ["cat"])
        written = subprocess.run([*program, str(each)], stdout=subprocess.PIPE, check=True).stdout
        found += sample_ids(written.decode(), output_format)
    assert found == [number for number in range(1, samples + 1) for _ in range(300)]


def test_the_crontab_line_of_the_readme_works(connection: sqlite3.Connection, path: str, tmp_path: Path) -> None:
    text = (REPOSITORY / "perftrack" / "reading" / "README.md").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if " export --new " in line and line.startswith("*/5 * * * * "))
    record_minutes(connection, 2)
    command = line.removeprefix("*/5 * * * * ").replace(
        "/opt/perftrack/bin/perftrack", f"{sys.executable} -m perftrack"
    )
    command = command.replace("/var/log/perftrack", str(tmp_path))
    for number in range(2):
        env = {**os.environ, "PERFTRACK_DATABASE": path}
        done = subprocess.run(["sh", "-c", command], env=env, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), number
    assert len((tmp_path / "process_log.jsonl").read_text().splitlines()) == 2
