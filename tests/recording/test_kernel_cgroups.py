"""Control groups as the kernel shows them: real ones where they can be made, and files as it writes them."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import OWN, Run, query, run_in
from taken import Spawn, take

from perftrack.recording import cgroups, linux_system
from perftrack.rows import CgroupRow
from perftrack.settings import CGROUP_DEPTH, CGROUP_PATHS
from perftrack.storage.unit_names import unit

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="there are control groups on Linux only")


def rows_of(group: Path, rows: list[CgroupRow] | None) -> list[CgroupRow]:
    assert rows is not None
    return [row for row in rows if f"/{group.name}" in row["path"]]


def read(depth: int = CGROUP_DEPTH, *patterns: str) -> list[CgroupRow]:
    rows = cgroups.read_cgroups(depth, patterns or CGROUP_PATHS)
    assert rows is not None
    return rows


class TestRealGroups:
    def test_know_all_that_has_ended_in_them(self, group: Callable[..., Path]) -> None:
        made = group()
        run_in(made, sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass")
        (row,) = rows_of(made, read())
        used = row["cpu_user_ms"] + row["cpu_system_ms"]
        (usage,) = (int(line.split()[1]) for line in (made / "cpu.stat").read_text().splitlines()[:1])
        assert used == usage // 1000
        assert used >= 300
        assert row["inode"] == made.stat().st_ino

    def test_come_before_those_in_them(self, group: Callable[..., Path]) -> None:
        made = group()
        group("/inner")
        assert [row["path"].rpartition(made.name)[2] for row in rows_of(made, read())] == ["", "/inner"]
        assert read()[0]["path"] == cgroups.mount()[0] or "/"

    def test_are_no_deeper_than_is_asked_for(self, group: Callable[..., Path]) -> None:
        made = group()
        assert rows_of(made, read(0)) == []
        assert len(read(0)) == 1

    def test_are_those_whose_path_matches(self, group: Callable[..., Path]) -> None:
        made = group()
        assert len(rows_of(made, read(CGROUP_DEPTH, f"*{OWN}*"))) == 1
        assert len(read(CGROUP_DEPTH, "/no*")) == 1  # the outermost is always there

    def test_that_are_gone_are_left_out_and_their_files_closed(self, group: Callable[..., Path]) -> None:
        made = group("-gone")
        assert len(rows_of(made, read())) == 1
        made.rmdir()
        try:
            assert rows_of(made, read()) == []
            targets = []
            for descriptor in os.listdir("/proc/self/fd"):
                try:
                    targets.append(os.readlink(f"/proc/self/fd/{descriptor}"))
                except OSError:
                    continue
            assert [target for target in targets if made.name in target] == []
        finally:
            made.mkdir()

    def test_that_were_made_again_are_others(self, group: Callable[..., Path]) -> None:
        made = group("-again")
        run_in(made, sys.executable, "-c", "import time\nwhile time.process_time() < 0.05: pass")
        (first,) = rows_of(made, read())
        made.rmdir()
        made.mkdir()
        (second,) = rows_of(made, read())
        assert second["inode"] != first["inode"]
        assert second["cpu_user_ms"] + second["cpu_system_ms"] < first["cpu_user_ms"] + first["cpu_system_ms"]

    def test_are_known_by_the_processes_in_them(self, group: Callable[..., Path], spawn: Spawn) -> None:
        made = group()
        process = spawn(OWN + "member")
        (made / "cgroup.procs").write_text(str(process.pid))
        (row,) = (row for row in take(OWN).processes if row["pid"] == process.pid)
        assert row["cgroup"] == rows_of(made, read())[0]["path"]
        process.kill()
        process.wait()
        time.sleep(0.05)

    def test_are_recorded_and_what_ran_between_two_ticks_is_theirs(
        self, group: Callable[..., Path], perftrack: Run, path: str
    ) -> None:
        made = group()
        perftrack("record")
        run_in(made, "sh", "-c", "i=0; while [ $i -lt 200 ]; do i=$((i+1)); /bin/true; done")
        perftrack("record")
        usage = int((made / "cpu.stat").read_text().split()[1]) / 1000
        sql = f"SELECT sum(cpu_ms) FROM cgroup_interval WHERE path LIKE '%{made.name}'"
        (used,) = query(path, sql)
        assert usage - 1 <= used <= usage

    def test_are_not_looked_at_where_that_is_not_wanted(self, perftrack: Run, path: str) -> None:
        perftrack("record", env={"PERFTRACK_CGROUPS": "false"})
        assert query(path, "SELECT count(*) FROM cgroup") == [0]
        assert query(path, "SELECT cgroups_seen FROM system_sample") == [None]
        assert query(path, "SELECT selection LIKE '%cgroups=false' FROM recorder") == [1]


class TestFilesOfTheKernel:
    """Controllers cannot be switched on everywhere: a folder with the files as the kernel writes them."""

    @pytest.fixture
    def folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        outermost, group = tmp_path / "unified", tmp_path / "unified" / "system.slice"
        group.mkdir(parents=True)
        for each in (outermost, group):
            (each / "cpu.stat").write_text(
                "usage_usec 5001999\nuser_usec 3000999\nsystem_usec 2001000\nnice_usec 0\n"
            )
        (outermost / "cgroup.controllers").write_text("cpu io memory pids\n")
        (outermost / "cgroup.subtree_control").write_text("cpu io memory pids\n")
        (group / "memory.current").write_text("4096000\n")
        (group / "memory.peak").write_text("8192000\n")
        (group / "memory.events").write_text("low 0\nhigh 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0\n")
        (group / "pids.current").write_text("12\n")
        (group / "io.stat").write_text(
            "8:0 rbytes=100 wbytes=2000 rios=1 wios=1 dbytes=0 dios=0\n"
            "253:0 rbytes=100 wbytes=2000 rios=1 wios=1 dbytes=0 dios=0\n"  # a volume on it
            "8:16 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n"
        )
        monkeypatch.setattr(cgroups, "mount", lambda: ("", str(outermost)))
        monkeypatch.setattr(linux_system, "disk_numbers", lambda: {b"8:0", b"8:16"})
        return group

    @pytest.mark.usefixtures("folder")
    def test_are_read(self) -> None:
        outermost, row = read()
        assert row.pop("inode") > 0
        assert row == {
            "path": "/system.slice",
            "cpu_user_ms": 3000,
            "cpu_system_ms": 2001,
            "memory_bytes": 4096000,
            "memory_peak_bytes": 8192000,
            "oom_kills": 1,
            "read_bytes": 110,
            "write_bytes": 2020,
            "tasks": 12,
        }
        # the kernel's outermost has none of these files, whatever its controllers
        assert {name for name, value in outermost.items() if value is None} == {
            *("memory_bytes", "memory_peak_bytes", "oom_kills", "read_bytes", "write_bytes", "tasks")
        }

    @pytest.mark.parametrize(
        ("controllers", "unknown"),
        [
            ("cpu", {"memory_bytes", "memory_peak_bytes", "oom_kills", "read_bytes", "write_bytes", "tasks"}),
            ("memory", {"read_bytes", "write_bytes", "tasks"}),
            ("cpu io", {"memory_bytes", "memory_peak_bytes", "oom_kills", "tasks"}),
        ],
    )
    def test_of_a_controller_that_is_off_are_null(self, folder: Path, controllers: str, unknown: set[str]) -> None:
        (folder.parent / "cgroup.subtree_control").write_text(controllers)
        row = read()[1]
        assert {name for name, value in row.items() if value is None} == unknown

    def test_of_an_older_kernel_have_no_peak(self, folder: Path) -> None:
        (folder / "memory.peak").unlink()
        assert read()[1]["memory_peak_bytes"] is None
        assert read()[1]["memory_bytes"] == 4096000


class TestTheMount:
    """proc_pid_mountinfo(5), of machines of several kinds."""

    @pytest.mark.parametrize(
        ("mountinfo", "found"),
        [
            ("30 23 0:26 / /sys/fs/cgroup rw shared:9 - cgroup2 cgroup2 rw,nsdelegate\n", ("", "/sys/fs/cgroup")),
            (
                "31 23 0:28 / /sys/fs/cgroup rw - tmpfs t rw\n4 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 c rw\n",
                ("", "/sys/fs/cgroup/unified"),
            ),
            ("31 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n", None),
            ("9 8 0:26 /docker/3f2a /sys/fs/cgroup ro - cgroup2 cgroup rw\n", ("/docker/3f2a", "/sys/fs/cgroup")),
            ("9 8 0:26 /../.. /sys/fs/cgroup ro - cgroup2 cgroup rw\n", None),
            ("9 8 0:26 / /mnt/with\\040blank rw - cgroup2 cgroup rw\n", ("", "/mnt/with blank")),
            ("", None),
        ],
        ids=["unified", "hybrid", "version 1", "container", "another namespace", "escaped", "nothing"],
    )
    def test_is_found(self, monkeypatch: pytest.MonkeyPatch, mountinfo: str, found: tuple[str, str] | None) -> None:
        monkeypatch.setattr(cgroups, "read_system", lambda _: mountinfo.encode())
        assert cgroups._mount(mountinfo.encode()) == found
        if found is None:
            assert cgroups.read_cgroups(CGROUP_DEPTH, CGROUP_PATHS) is None


ID = "3f2a1b0c9d8e" + "0123456789abcdef" * 3 + "abcd"
OTHER = "c0ffee000000" + "0123456789abcdef" * 3 + "abcd"
POD = "kubepods-burstable-pod0a1b2c3d_1111_2222_3333_444455556666.slice"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/", "/"),
        ("/made/by/hand", "/made/by/hand"),
        ("/system.slice", "system.slice"),
        ("/system.slice/cron.service", "cron.service"),
        ("/system.slice/cron.service/inner/most", "cron.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/system.slice/system-getty.slice", "system-getty.slice"),
        ("/system.slice/dev-hugepages.mount", "dev-hugepages.mount"),
        ("/init.scope", "init.scope"),
        ("/user.slice", "user.slice"),
        ("/user.slice/user-0.slice", "root: user-0.slice"),
        ("/user.slice/user-0.slice/session-12.scope", "root: sessions"),
        ("/user.slice/user-987654.slice/session-c2.scope", "987654: sessions"),
        ("/user.slice/user-0.slice/user@0.service", "root: user@0.service"),
        ("/user.slice/user-0.slice/user@0.service/init.scope", "root: init.scope"),
        ("/user.slice/user-0.slice/user@0.service/app.slice/app-firefox.service", "root: app-firefox.service"),
        ("/user.slice/user-0.slice/user@0.service/app.slice", "root: app.slice"),
        (
            f"/user.slice/user-0.slice/user@0.service/user.slice/libpod-{ID}.scope/container",
            "root: podman 3f2a1b0c9d8e",
        ),
        (f"/system.slice/docker-{ID}.scope", "docker 3f2a1b0c9d8e"),
        (f"/docker/{ID}", "docker 3f2a1b0c9d8e"),
        (f"/docker/{ID}/docker/{OTHER}", "docker 3f2a1b0c9d8e"),
        ("/system.slice/docker.service", "docker.service"),
        (f"/machine.slice/libpod-{ID}.scope", "podman 3f2a1b0c9d8e"),
        (f"/kubepods.slice/kubepods-burstable.slice/{POD}", "pod 0a1b2c3d"),
        (
            f"/kubepods.slice/kubepods-burstable.slice/{POD}/cri-containerd-{ID}.scope",
            "pod 0a1b2c3d, containerd 3f2a1b0c9d8e",
        ),
        (f"/kubepods.slice/kubepods-burstable.slice/{POD}/crio-{ID}.scope", "pod 0a1b2c3d, cri-o 3f2a1b0c9d8e"),
        (
            f"/kubepods/besteffort/pod0a1b2c3d-1111-2222-3333-444455556666/{ID}",
            "pod 0a1b2c3d, container 3f2a1b0c9d8e",
        ),
        ("/kubepods.slice/kubepods-burstable.slice", "kubepods-burstable.slice"),
        ("/kubepods/burstable", "/kubepods/burstable"),
        (f"/default/{ID}", "container 3f2a1b0c9d8e"),
        (f"/system.slice/containerd.service/k8s.io:cri-containerd:{ID}", "containerd 3f2a1b0c9d8e"),
        ("/lxc.payload.web/system.slice/cron.service", "lxc web"),
        ("/lxc/web", "lxc web"),
        ("/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn@web.service"),
    ],
)
def test_a_unit_is_what_a_person_calls_it(path: str, name: str) -> None:
    assert unit(path) == name


class TestALoop:
    """What is read again and again: only cpu.stat, as long as the groups are the same and idle."""

    def test_finds_the_one_that_takes_the_place_of_another(self, group: Callable[..., Path]) -> None:
        """There are as many as before, under the same path."""
        made = group("-replaced")
        run_in(made, sys.executable, "-c", "import time\nwhile time.process_time() < 0.05: pass")
        (first,) = rows_of(made, read())
        read()
        made.rmdir()
        made.mkdir()
        (second,) = rows_of(made, read())
        assert second["inode"] == made.stat().st_ino != first["inode"]
        assert second["cpu_user_ms"] + second["cpu_system_ms"] < 50

    def test_finds_one_where_another_is_gone(self, group: Callable[..., Path]) -> None:
        first = group("-first")
        read()
        second = group("-second")
        first.rmdir()
        try:
            assert [row["path"].rpartition("-")[2] for row in rows_of(first, read()) + rows_of(second, read())] == [
                "second"
            ]
        finally:
            first.mkdir()

    def test_sees_what_an_idle_group_does_next(self, group: Callable[..., Path]) -> None:
        made = group()
        read()
        (idle,) = rows_of(made, read())
        run_in(made, "/bin/true")
        (busy,) = rows_of(made, read())
        assert (idle["cpu_user_ms"], idle["cpu_system_ms"]) == (0, 0)
        assert int((made / "cpu.stat").read_text().split()[1]) // 1000 == busy["cpu_user_ms"] + busy["cpu_system_ms"]

    def test_walks_no_folder_again(self, group: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
        group()
        read()
        for _ in range(20):  # other tests may make and remove groups beside this one
            walked: list[str] = []
            monkeypatch.setattr(cgroups, "_walk", lambda *given, walked=walked: walked.append(given[0]) or iter(()))
            rows = read()
            monkeypatch.undo()
            if not walked:
                assert len(rows) > 1
                return
            read()
        pytest.fail("it walks each time")
