"""Files of perftrack's own are no targets of an export or a plot, however they are spelled."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run
from exported import record_minutes


@pytest.fixture
def three_samples(connection: sqlite3.Connection) -> None:
    record_minutes(connection, 3)


def ways_to_spell(file: Path, folder: Path) -> dict[str, str]:
    """Paths that lead to *file*, from *folder*."""
    link, hard_link, folder_link = folder / "a link", folder / "a hard link", folder / "a folder's link"
    link.symlink_to(file)
    folder_link.symlink_to(file.parent)
    ways = {
        "in full": str(file),
        "from here": os.path.relpath(file, folder),
        "with a detour": f"{file.parent}/../{file.parent.name}//./{file.name}",
        "through a link": str(link),
        "through a folder's link": str(folder_link / file.name),
    }
    if file.is_file():
        os.link(file, hard_link)
        ways["by another name"] = str(hard_link)
    return ways


@pytest.mark.usefixtures("three_samples")
class TestATargetThatIsPerftracksOwn:
    """Replacing the database with what is in it would lose all the rest."""

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("suffix", "what"),
        [
            ("", "the database"),
            ("-wal", "a file of the database"),
            ("-shm", "a file of the database"),
            ("-journal", "a file of the database"),
            ("-failures", "a file of the database"),
            ("-pending", "a file of the database"),
            ("-pending/00000001-aaaaaaaa.json", "in a folder of the database"),
            ("-config", "the config file"),
        ],
    )
    def test_is_refused_however_it_is_spelled(
        self, perftrack: Run, path: str, tmp_path: Path, suffix: str, what: str
    ) -> None:
        Path(f"{path}-config").write_text("top = 3\n")
        database, there = Path(path).read_bytes(), sorted(os.listdir(Path(path).parent))
        for spelling in ways_to_spell(Path(f"{path}{suffix}"), tmp_path / "work").values():
            for option in ("--system-csv", "--process-csv"):
                done = perftrack("export", option, spelling, "--config", f"{path}-config", expect=2)
                said = f"perftrack: {spelling} is {what}, which is not to be overwritten; name another file\n"
                assert done.stderr == said
        assert Path(path).read_bytes() == database
        assert Path(f"{path}-config").read_text() == "top = 3\n"
        assert sorted(os.listdir(Path(path).parent)) == there

    def test_is_refused_where_stdout_is(self, path: str) -> None:
        database = Path(path).read_bytes()
        command = [sys.executable, "-m", "perftrack", "export", "--process-csv", "-", "--database", path]
        with open(path, "ab") as stdout:
            done = subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 2
        assert done.stderr.startswith("perftrack: - is the database")
        assert Path(path).read_bytes() == database

    def test_is_refused_by_its_usual_name(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        (tmp_path / "work").mkdir(exist_ok=True)
        os.rename(path, tmp_path / "work" / "system_log.csv")
        own = str(tmp_path / "work" / "system_log.csv")
        before = Path(own).read_bytes()
        assert "is the database" in perftrack("export", "--database", own, expect=2).stderr
        assert Path(own).read_bytes() == before

    @pytest.mark.parametrize("way", ["from here", "with a detour", "through a link", "by another name"])
    def test_is_refused_where_it_is_the_other_target(self, perftrack: Run, tmp_path: Path, way: str) -> None:
        file = tmp_path / "out" / "a.csv"
        file.parent.mkdir()
        file.write_text("earlier")
        spelling = ways_to_spell(file, tmp_path / "work")[way]
        done = perftrack("export", "--system-csv", str(file), "--process-csv", spelling, expect=2)
        assert done.stderr.startswith("perftrack: both files would go to the same place")
        assert file.read_text() == "earlier"

    def test_is_refused_for_a_plot(self, perftrack: Run, path: str, tmp_path: Path) -> None:
        own = str(Path(path).with_name("perftrack.html"))
        os.rename(path, own)
        before = Path(own).read_bytes()
        for spelling in ways_to_spell(Path(own), tmp_path / "work").values():
            done = perftrack("plot", "--since", "2026-11-20", "-o", spelling, "--database", own, expect=2)
            assert done.stderr.startswith(f"perftrack: {spelling} is the database")
        assert Path(own).read_bytes() == before
