"""Made-up files of the original, and what an import and an export make of them."""

from __future__ import annotations

import csv
import io
import os
import pickle
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import LEGACY

from perftrack.__main__ import main
from perftrack.legacy import importer
from perftrack.legacy.entries import ProcessEntry, SystemEntry
from perftrack.legacy.importer import Imported
from perftrack.legacy.source import reading
from perftrack.reading.export.files import export
from perftrack.reading.queries import TimeRange

DATA_PIK = str(LEGACY / "data.pik")
CSV_FILES = (str(LEGACY / "system_log.csv"), str(LEGACY / "process_log.csv"))
Entry = dict[str, Any]
Both = tuple[bytes, bytes]
WriteOriginal = Callable[..., str]
NOON = datetime(2026, 11, 20, 12, 0, 0, 250000)
Refused = Callable[..., str]


def system(**values: Any) -> Entry:
    """An entry of the original's list 'system', made-up but for *values*."""
    memory = {"mem_total": 8000, "mem_available": 6000, "mem_used": 2000, "mem_percent_used": 0.25}
    return {"datetime": NOON, "cpu_usage": 12.5, **memory, **values}


def process(**values: Any) -> Entry:
    """An entry of the original's list 'processes', made-up but for *values*."""
    who = {"filter": "java", "name": "java", "pid": 7}
    return {"datetime": NOON, **who, "cpu_usage": 1.5, "rss_memory": 4096, "vms_memory": 8192, **values}


def import_file(file: str, database: str, *arguments: Any, **options: Any) -> Imported:
    """Import a file as the command does."""
    with reading(file) as source:
        return importer.import_file(source, database, *arguments, **options)


def entries_of(path: Path | str) -> tuple[list[SystemEntry], list[ProcessEntry]]:
    """What is in a file, as the process that reads it answers."""
    with reading(str(path)) as source:
        return source.entries()


@pytest.fixture
def original(tmp_path: Path) -> WriteOriginal:
    """Write a pickle as the original did, and return its path."""

    def write(
        *,
        systems: list[Any] | None = None,
        processes: list[Any] | None = None,
        protocol: int = 4,
        name: str = "data.pik",
    ) -> str:
        data = {"system": systems or [], "processes": processes or []}
        (tmp_path / name).write_bytes(pickle.dumps(data, protocol))
        return str(tmp_path / name)

    return write


def extracted(entries: list[Entry]) -> bytes:
    """The CSV file that the original extracts from *entries*: keys sorted, str() of each value."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, sorted(entries[0]))
    writer.writeheader()
    writer.writerows(entries)
    return text.getvalue().encode()


def exported(path: str, since: datetime | None = None, until: datetime | None = None) -> Both:
    """What `perftrack export` writes."""
    files = [Path(path).with_name(name) for name in ("system.csv", "processes.csv")]
    export(path, str(files[0]), str(files[1]), TimeRange(since, until))
    return files[0].read_bytes(), files[1].read_bytes()


def dump(path: str) -> list[str]:
    with closing(sqlite3.connect(path)) as opened:
        return list(opened.iterdump())


def use_zone(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TZ", name)
    time.tzset()


def data_pik(systems: Any = (), processes: Any = (), protocol: int = 4) -> bytes:
    lists = [list(entries) if isinstance(entries, tuple) else entries for entries in (systems, processes)]
    return pickle.dumps(dict(zip(("system", "processes"), lists, strict=True)), protocol)


@pytest.fixture(scope="module")
def imported(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database that holds what the original recorded."""
    database = str(tmp_path_factory.mktemp("imported") / "perftrack.db")
    import_file(DATA_PIK, database, "here")
    return database


@pytest.fixture
def refused(
    imported: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Import a file of these bytes: exit code 1, nothing changed, and one line; return what it says of the file."""
    database = str(shutil.copy(imported, tmp_path))
    before = dump(database)

    def run(content: bytes, name: str = "data.pik") -> str:
        file = tmp_path / name
        file.write_bytes(content)
        monkeypatch.setattr(sys, "argv", ["perftrack", "import", "--database", database, str(file)])
        with pytest.raises(SystemExit) as exited:
            main()
        said = capsys.readouterr()
        assert (exited.value.code, said.out) == (1, ""), said
        assert said.err.count("\n") == 1
        assert len(said.err) < 1000
        assert said.err.startswith(f"perftrack: {file}"), said.err
        assert dump(database) == before
        return said.err.removeprefix(f"perftrack: {file}").strip()

    return run


@pytest.fixture(params=["a new database", "an existing database"])
def before(request: pytest.FixtureRequest, path: str, original: WriteOriginal) -> list[str]:
    """What the database holds; nothing where there is none."""
    if request.param == "a new database":
        Path(path).parent.mkdir()
        return []
    import_file(original(systems=[system()], name="first.pik"), path, "here")
    return dump(path)


@pytest.fixture
def untouched(before: list[str], path: str) -> Callable[[], bool]:
    """Whether the database is as it was before: where there was none, there still is none."""

    def is_untouched() -> bool:
        left = os.listdir(os.path.dirname(path))
        return dump(path) == before and len(left) == 1 if before else not left

    return is_untouched
