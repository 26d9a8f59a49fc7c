"""Other users of the machine: what they put into a shared folder is not followed, what we write is not theirs."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run, process_row, query, sample
from test_import import DATA_PIK

from perftrack.storage import insertion, opening

OTHER_USER = 65534
pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root can make files of another user"
)

# proc_sys_fs(5): the kernel itself follows no link of another user in such a folder, as on most distributions.
_SETTING = Path("/proc/sys/fs/protected_symlinks")
KERNEL_REFUSES_LINKS = _SETTING.exists() and _SETTING.read_text().strip() == "1"


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A folder like /tmp."""
    folder = tmp_path / "shared"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


def planted(file: Path, kind: str, target: Path | None = None) -> Path:
    """Put something of another user there."""
    if kind == "file":
        file.touch()
    elif kind == "database":
        opening.open_current(str(file)).close()
    elif kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    else:
        assert target is not None
        file.symlink_to(target)
    if kind != "link":
        file.chmod(0o777)
    os.chown(file, OTHER_USER, OTHER_USER, follow_symlinks=False)
    return file


def modes(folder: Path) -> dict[str, str]:
    return {file.name: oct(stat.S_IMODE(file.lstat().st_mode)) for file in folder.iterdir()}


class TestADatabaseInASharedFolder:
    @pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
    def test_is_nobody_elses(self, umask: int, shared: Path, perftrack: Run) -> None:
        file = shared / "perftrack.db"
        perftrack("record", "--database", str(file), preexec_fn=lambda: os.umask(umask))
        connection = opening.open_current(str(file))  # which keeps the write-ahead log
        perftrack("record", "--database", str(file), preexec_fn=lambda: os.umask(umask))
        assert modes(shared) == dict.fromkeys(("perftrack.db", "perftrack.db-wal", "perftrack.db-shm"), "0o600")
        connection.close()

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("perftrack.db", "database"),
            ("perftrack.db-wal", "file"),
            ("perftrack.db-shm", "file"),
            ("perftrack.db-journal", "file"),
            ("perftrack.db-pending", "folder"),
            ("perftrack.db-failures", "file"),
        ],
    )
    def test_is_refused_beside_another_users_file(self, name: str, kind: str, shared: Path, perftrack: Run) -> None:
        file = planted(shared / name, kind)
        before = file.read_bytes() if kind != "folder" else sorted(file.iterdir())
        for arguments in (["record"], ["record", "--top", "1"], ["database", "upgrade"]):
            database_file = str(shared / "perftrack.db")
            known = str(shared.parent / "known" / "-".join(arguments))  # else it is told once an hour
            environment = {"PERFTRACK_DATABASE": database_file, "XDG_DATA_HOME": known}
            done = perftrack(*arguments, expect=1, env=environment)
            assert done.stderr == (
                f"perftrack: database {database_file}: {file} belongs to another user, and anybody can write to its "
                "folder; keep the database in a folder of your own\n"
            )
            assert (file.read_bytes() if kind != "folder" else sorted(file.iterdir())) == before
            assert os.listdir(shared) == [name]

    def test_is_refused_behind_another_users_link(self, shared: Path, perftrack: Run, path: str) -> None:
        opening.open_current(path).close()
        planted(shared / "perftrack.db", "link", Path(path))
        done = perftrack("record", "--database", str(shared / "perftrack.db"), expect=1)
        assert ("Permission denied" if KERNEL_REFUSES_LINKS else "belongs to another user") in done.stderr
        assert query(path, "SELECT count(*) FROM system_sample") == [0]

    def test_is_taken_behind_a_link_of_ones_own(self, shared: Path, perftrack: Run, path: str) -> None:
        opening.open_current(path).close()
        (shared / "perftrack.db").symlink_to(path)
        perftrack("record", "--database", str(shared / "perftrack.db"))
        assert query(path, "SELECT count(*) FROM system_sample") == [1]

    def test_can_be_read_where_it_is_another_users(self, shared: Path, perftrack: Run, tmp_path: Path) -> None:
        connection = opening.open_current(str(shared / "perftrack.db"))
        insertion.insert_sample(connection, sample(process_row()))
        connection.close()
        os.chown(shared / "perftrack.db", OTHER_USER, OTHER_USER)
        perftrack("export", "--database", str(shared / "perftrack.db"))
        assert len((tmp_path / "work" / "process_log.csv").read_text().splitlines()) == 2

    def test_of_another_user_is_no_matter_in_a_folder_of_his(self, perftrack: Run, path: str) -> None:
        perftrack("record")
        for file in (Path(path).parent, Path(path)):
            os.chown(file, OTHER_USER, OTHER_USER)
        perftrack("record")  # as root's crontab may
        assert query(path, "SELECT count(*) FROM system_sample") == [2]


@pytest.mark.usefixtures("database")
class TestAnExportIntoASharedFolder:
    @pytest.fixture
    def export(self, shared: Path, perftrack: Run) -> Callable[..., str]:
        perftrack("record")

        def run(expect: int = 0) -> str:
            done = perftrack("export", "--directory", str(shared), expect=expect, preexec_fn=lambda: os.umask(0))
            return done.stderr

        return run

    def test_replaces_a_link_and_leaves_its_target(
        self, export: Callable[..., str], shared: Path, tmp_path: Path
    ) -> None:
        victim = tmp_path / "victim"
        victim.write_text("mine")
        planted(shared / "system_log.csv", "link", victim)
        export()
        assert victim.read_text() == "mine"
        assert modes(shared) == {"system_log.csv": "0o600", "process_log.csv": "0o600"}

    @pytest.mark.parametrize("link", [False, True])
    def test_gives_nothing_to_another_users_pipe(
        self, link: bool, export: Callable[..., str], shared: Path, tmp_path: Path
    ) -> None:
        if link:
            pipe = planted(tmp_path / "pipe", "pipe")
            planted(shared / "process_log.csv", "link", pipe)
        else:
            pipe = planted(shared / "process_log.csv", "pipe")
        reader = os.open(pipe, os.O_RDWR | os.O_NONBLOCK)
        said = export(expect=None if link and KERNEL_REFUSES_LINKS else 1)
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
        os.close(reader)
        if link and KERNEL_REFUSES_LINKS:  # then it is no link that leads anywhere, and a file takes its place
            return
        assert said == (
            f"perftrack: cannot write {shared}/process_log.csv: it is no regular file, and belongs to another user\n"
        )
        assert not (shared / "system_log.csv").exists()

    def test_writes_to_a_pipe_of_ones_own(self, export: Callable[..., str], shared: Path) -> None:
        os.mkfifo(shared / "process_log.csv")
        reader = os.open(shared / "process_log.csv", os.O_RDWR | os.O_NONBLOCK)
        export()
        assert os.read(reader, 1000).startswith(b"cpu_usage,")
        os.close(reader)


class TestAConfigFile:
    @pytest.mark.parametrize("umask", [0o000, 0o777])
    def test_is_nobody_elses(self, umask: int, tmp_path: Path, perftrack: Run) -> None:
        file = tmp_path / "new" / "folders" / "perftrack.toml"
        perftrack("config", "init", "--config", str(file), preexec_fn=lambda: os.umask(umask))
        assert modes(file.parent) == {"perftrack.toml": "0o600"}
        assert modes(tmp_path / "new") == {"folders": "0o700"}
        assert modes(tmp_path)["new"] == "0o700"

    @pytest.mark.parametrize("dangling", [True, False])
    def test_is_not_written_behind_a_link(self, dangling: bool, shared: Path, tmp_path: Path, perftrack: Run) -> None:
        victim = tmp_path / "victim"
        if not dangling:
            victim.write_text("mine")
        link = planted(shared / "perftrack.toml", "link", victim)
        done = perftrack("config", "init", "--config", str(link), expect=2)
        assert done.stderr == f"perftrack: {link} exists already; edit it, or remove it first\n"
        assert link.is_symlink()
        assert (victim.read_text() == "mine") if not dangling else not victim.exists()


def test_the_folder_of_a_dry_run_is_nobody_elses(shared: Path, path: str) -> None:
    """Seen by strace: every file that an import makes while it changes nothing."""
    program = shutil.which("strace")
    if program is None:
        pytest.skip("strace is not installed")
    trace = shared / "trace"
    command = [program, "-f", "-e", "trace=mkdir,mkdirat,open,openat", "-o", str(trace), sys.executable, "-B"]
    command += ["-m", "perftrack", "import", "--dry-run", "--database", path, DATA_PIK]
    env = {**os.environ, "TMPDIR": str(shared)}
    subprocess.run(command, env=env, check=True, capture_output=True, timeout=120, preexec_fn=lambda: os.umask(0))
    made = [line for line in trace.read_text().splitlines() if f'"{shared}/' in line and " = -1" not in line]
    folders = [line for line in made if "mkdir" in line]
    assert len(folders) == 1
    assert re.search(r", 0700(\)| <unfinished)", folders[0])
    files = [line for line in made if "O_CREAT" in line]
    assert files
    folder = folders[0].split('"')[1]
    # tempfile tries the folder first, with a file of a random name; strace breaks lines that another process is in
    assert all(
        f'"{folder}/' in line or re.search(r"O_EXCL\|O_NOFOLLOW\|O_CLOEXEC, 0600(\)| <unf)", line) for line in files
    )
    assert modes(shared) == {"trace": modes(shared)["trace"]}
