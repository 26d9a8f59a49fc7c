"""Exports that are compressed because of their names, read back by the real gzip and zstd."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Run
from exported import record_mixed

from perftrack.reading.export import files as exporting
from perftrack.reading.export.logs import Form, RowFormat
from perftrack.reading.queries import TimeRange

PROGRAMS = {".gz": "gzip", ".zst": "zstd"}
FORMATS = ("csv", "jsonl")


def unpacked(file: Path) -> bytes:
    program = PROGRAMS[file.suffix]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    return subprocess.run([program, "-dc", str(file)], capture_output=True, check=True).stdout


@pytest.mark.parametrize("suffix", PROGRAMS)
class TestACompressedFile:
    @pytest.mark.parametrize("output_format", FORMATS)
    def test_holds_what_the_plain_one_does(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path, suffix: str, output_format: RowFormat
    ) -> None:
        record_mixed(connection, 20)
        names = [f"{log}.{output_format}" for log in ("s", "p")]
        for ending in ("", suffix):
            files = [str(tmp_path / f"{name}{ending}") for name in names]
            exporting.export(path, *files, TimeRange(), form=Form(output_format))
        for name in names:
            plain, packed = tmp_path / name, tmp_path / f"{name}{suffix}"
            assert unpacked(packed) == plain.read_bytes()
            assert packed.stat().st_size < plain.stat().st_size
            assert stat.S_IMODE(packed.stat().st_mode) == 0o600

    def test_has_the_same_bytes_whenever_it_is_made(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path, suffix: str
    ) -> None:
        record_mixed(connection, 3)
        for name in ("one", "other"):
            exporting.export(path, None, str(tmp_path / f"{name}{suffix}"), TimeRange())
        one, other = ((tmp_path / f"{name}{suffix}").read_bytes() for name in ("one", "other"))
        assert one == other
        if suffix == ".gz":
            assert one[3:8] == bytes(5)  # RFC 1952: no name, and no time

    def test_that_could_not_be_written_leaves_the_earlier_one(
        self, connection: sqlite3.Connection, path: str, tmp_path: Path, suffix: str
    ) -> None:
        record_mixed(connection, 3)
        (tmp_path / f"p{suffix}").write_text("earlier")
        export = f"exec {sys.executable} -m perftrack export --database {path} --process-csv p{suffix}"
        done = subprocess.run(
            ["sh", "-c", f"trap '' XFSZ; ulimit -f 0; {export}"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert done.stderr.startswith("perftrack: cannot write ")
        assert (tmp_path / f"p{suffix}").read_text() == "earlier"
        assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]

    def test_goes_into_a_pipe_too(
        self, connection: sqlite3.Connection, perftrack: Run, tmp_path: Path, suffix: str
    ) -> None:
        record_mixed(connection, 3)
        fifo = tmp_path / f"fifo{suffix}"
        os.mkfifo(fifo)
        with subprocess.Popen(["cat", str(fifo)], stdout=subprocess.PIPE) as reader:
            perftrack("export", "--process-csv", str(fifo), "--system-csv", "s.csv")
            (tmp_path / f"got{suffix}").write_bytes(reader.communicate()[0])
        perftrack("export")
        assert unpacked(tmp_path / f"got{suffix}") == (tmp_path / "work" / "process_log.csv").read_bytes()


@pytest.mark.parametrize("output_format", FORMATS)
def test_what_zstd_needs_is_said_before_anything_is_written(
    connection: sqlite3.Connection, path: str, tmp_path: Path, output_format: str
) -> None:
    record_mixed(connection, 1)
    hidden = "import sys; sys.modules.update({'backports.zstd': None, 'compression.zstd': None})"
    program = f"{hidden}; import perftrack.__main__ as m; m.main()"
    arguments = ["export", "--format", output_format, "--database", path, "--process-csv", "p.zst"]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith("perftrack: p.zst needs zstd: ")
    if sys.version_info < (3, 14):
        assert done.stderr.endswith(" -m pip install backports.zstd\n")
    assert os.listdir(tmp_path) == ["data"]
