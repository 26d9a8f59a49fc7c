"""A wheel built from the repository works anywhere: the migrations travel inside it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import man
import pytest
from conftest import REPOSITORY, query
from test_schema import LATER, NEXT

from perftrack.storage import tick_sql


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(REPOSITORY)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty environment elsewhere, with nothing but the wheel and what it asks for."""
    venv = tmp_path_factory.mktemp("installed") / "an environment"
    subprocess.run([sys.executable, "-m", "venv", str(venv)], check=True)
    subprocess.run(
        [venv / "bin" / "python", "-m", "pip", "install", "--quiet", str(wheel)], check=True, capture_output=True
    )
    return venv


def test_holds_the_migrations_and_nothing_of_the_workshop(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "perftrack/migrations/env.py" in names
    assert "perftrack/migrations/versions/0001_tables_and_views.py" in names
    assert {"perftrack/migrations/fleet/env.py", "perftrack/migrations/fleet/versions/0001_the_centre.py"} <= set(
        names
    )
    assert {name.split("/")[0] for name in names if not name.startswith("performancetrack-0")} == {"perftrack"}
    assert not [name for name in names if "__pycache__" in name]


def test_names_no_package_of_the_index_that_is_not_ours() -> None:
    files = [file for folder in ("perftrack", "bin") for file in (REPOSITORY / folder).rglob("*") if file.is_file()]
    texts = [
        file.read_text(encoding="utf-8")
        for file in [*files, REPOSITORY / "README.md"]
        if "__pycache__" not in str(file)
    ]
    assert len(texts) > 50
    advised = re.compile(r"\b(?:install|inject)\s+(?:-\S+\s+)*['\"]?perftrack\b")
    assert advised.search("pip install --user 'perftrack[plot]'")
    assert [match[0] for text in texts for match in advised.finditer(text)] == []


@pytest.mark.slow
def test_says_the_command_that_installs_what_plotting_needs(installed: Path, tmp_path: Path, path: str) -> None:
    """And a shell in another folder runs it as it is."""
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"}
    env |= {name: value for name, value in os.environ.items() if name.startswith("PIP_")}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == (1 if "needs" in done.stderr else 0), done.stderr
        return done.stderr

    program = str(installed / "bin" / "perftrack")
    run(program, "record")
    run(program, "record")
    for kind in ("html", "png"):
        said = run(program, "plot", "-o", f"plot.{kind}")
        line = (
            rf"perftrack: a plot as \.{kind} needs \w+: ('{installed}/bin/python' -m pip install plotly matplotlib)\n"
        )
        match = re.fullmatch(line, said)
        assert match is not None, said
    run("sh", "-c", match[1])
    for kind in ("html", "png"):
        assert run(program, "plot", "-o", f"plot.{kind}") == ""
        assert (tmp_path / f"plot.{kind}").stat().st_size > 10_000


@pytest.mark.slow
def test_has_its_man_page_where_man_looks(installed: Path) -> None:
    page = installed / "share" / "man" / "man1" / "perftrack.1"
    assert page.read_bytes() == man.PAGE.read_bytes()
    if sys.platform != "linux" or shutil.which("man") is None:
        pytest.skip("man-db is not installed")
    env = {**os.environ, "PATH": f"{installed / 'bin'}:{os.environ['PATH']}"}
    env.pop("MANPATH", None)
    found = subprocess.run(["man", "-w", "perftrack"], env=env, capture_output=True, text=True, check=True)
    assert found.stdout == f"{page}\n"


@pytest.mark.slow
def test_records_upgrades_and_exports_from_any_folder(installed: Path, tmp_path: Path, path: str) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "PERFTRACK_DATABASE": path, "PERFTRACK_CPU_WINDOW": "0"}

    def perftrack(*arguments: str) -> None:
        done = subprocess.run(
            [installed / "bin" / "perftrack", *arguments],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")

    perftrack("record")
    assert query(path, "SELECT version_num FROM alembic_version") == [tick_sql.REVISION]

    # The next release, installed over this one, meets the database of this one.
    (package,) = installed.glob("lib/python3*/site-packages/perftrack")
    (package / "migrations" / "versions" / f"{NEXT}_later.py").write_text(LATER)
    generated = package / "storage" / "tick_sql.py"
    # of another length, so that Python compiles it anew even within the second that it was installed in
    generated.write_text(generated.read_text().replace(f'"{tick_sql.REVISION}"', f'"{NEXT}"  # the next'))
    perftrack("record")
    assert query(path, "SELECT version_num FROM alembic_version") == [NEXT]

    perftrack("export")
    assert len((tmp_path / "system_log.csv").read_text().splitlines()) == 3
