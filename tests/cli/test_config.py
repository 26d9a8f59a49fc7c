"""Settings: defaults < config file < environment < options, and what is wrong with them in one line."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path

import platformdirs
import pytest
from conftest import Run

from perftrack import settings
from perftrack.errors import UsageError


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    return tmp_path / "perftrack.toml"


class TestPrecedence:
    def test_defaults(self) -> None:
        effective = settings.load()
        assert effective.process_filter == ["java", "python"]
        assert effective.cpu_window == 1.0
        assert effective.database == os.path.join(
            platformdirs.user_data_dir("perftrack", appauthor=False), "perftrack.db"
        )
        assert (effective.system_csv, effective.process_csv) == ("system_log.csv", "process_log.csv")
        assert set(effective.origins.values()) == {"default"}

    def test_each_overrides_the_one_before(self, config_file: Path) -> None:
        def window(options: dict[str, float], environ: dict[str, str]) -> tuple[float, str]:
            effective = settings.load(options, str(config_file), environ)
            return effective.cpu_window, effective.origins["cpu_window"]

        config_file.write_text("# a comment\ncpu_window = 2\n")
        variable = {"PERFTRACK_CPU_WINDOW": "3"}
        assert window({}, {}) == (2.0, f"{config_file}, line 2")
        assert window({}, variable) == (3.0, "environment, PERFTRACK_CPU_WINDOW")
        assert window({"cpu_window": 4.0}, variable) == (4.0, "option")

    def test_the_users_own_file_is_read_by_itself(self) -> None:
        own = Path(platformdirs.user_config_dir("perftrack", appauthor=False), "perftrack.toml")
        own.parent.mkdir(parents=True)
        own.write_text("top = 5\n")
        assert settings.load().top == 5

    def test_another_file_can_be_named(self, config_file: Path) -> None:
        config_file.write_text("top = 5\n")
        assert settings.load(environ={"PERFTRACK_CONFIG": str(config_file)}).top == 5
        assert settings.load(config_file=str(config_file), environ={"PERFTRACK_CONFIG": "/nowhere"}).top == 5


class TestTheEnvironment:
    @pytest.mark.parametrize(
        ("name", "text", "value"),
        [
            ("process_filter", "java, python,ruby", ["java", "python", "ruby"]),
            ("process_filter", "", []),
            ("process_filter", "java,,python,", ["java", "python"]),
            ("all", "true", True),
            ("all", "0", False),
            ("memory_detail", "YES", True),
            ("top", "3", 3),
            ("cpu_window", "0", 0.0),
            ("system_csv", "/tmp/s.csv", "/tmp/s.csv"),
            ("database", "/tmp/x.db", "/tmp/x.db"),
        ],
    )
    def test_sets_every_setting(self, name: str, text: str, value: object) -> None:
        assert getattr(settings.load(environ={f"PERFTRACK_{name.upper()}": text}), name) == value

    @pytest.mark.parametrize(
        ("variable", "text", "says"),
        [
            ("PERFTRACK_ALL", "maybe", "true or false"),
            ("PERFTRACK_TOP", "many", "a whole number, 0 or more"),
            ("PERFTRACK_TOP", "-1", "a whole number, 0 or more"),
            ("PERFTRACK_CPU_WINDOW", "long", "a number of seconds from 0 to 3600"),
            ("PERFTRACK_CPU_WINDOW", "nan", "a number of seconds from 0 to 3600"),
            ("PERFTRACK_CPU_WINDOW", "inf", "a number of seconds from 0 to 3600"),
            ("PERFTRACK_DATABASE", "", "a path"),
        ],
    )
    def test_that_is_wrong_is_named(self, variable: str, text: str, says: str) -> None:
        with pytest.raises(UsageError, match=f"{variable}.*{says}"):
            settings.load(environ={variable: text})


class TestTheFile:
    @pytest.mark.parametrize(
        ("text", "line", "says"),
        [
            ('top = 1\nprocess_filtre = ["x"]\n', 2, "unknown setting 'process_filtre'"),
            ("\n\ncpu_window = 'long'\n", 3, "a number of seconds"),
            ("cpu_window = -1\n", 1, "a number of seconds"),
            ("cpu_window = true\n", 1, "a number of seconds"),
            ("top = 1.5\n", 1, "a whole number"),
            ("all = 1\n", 1, "true or false"),
            ('process_filter = "java"\n', 1, "a list of strings"),
            ("process_filter = [1]\n", 1, "a list of strings"),
            ('process_filter = [""]\n', 1, "all = true"),
            ("database = 5\n", 1, "a path"),
            ("top = 1\n[recording]\nevery = 5\n", 2, "unknown setting 'recording'"),
            ("top = \n", 1, "Invalid value"),
            ("all = true\n\ttop\t= -5\n", 2, "a whole number"),
            ("all = true\n[[ship]]\n", 2, "unknown setting 'ship'"),
            ("all = true\nship.to = 1\n", 2, "unknown setting 'ship'"),
            ("all = true\n'top' = 1.5\n", 2, "a whole number"),
        ],
    )
    def test_that_is_wrong_is_named_with_its_line(self, config_file: Path, text: str, line: int, says: str) -> None:
        config_file.write_text(text)
        with pytest.raises(UsageError, match=rf"{config_file}.*line {line}\b") as error:
            settings.load(config_file=str(config_file))
        assert says in str(error.value)

    def test_that_names_a_setting_in_a_list_is_not_taken_for_it(self, config_file: Path) -> None:
        config_file.write_text('process_filter = [\n"top",\n"all"]\ntop = 3\n')
        assert settings.load(config_file=str(config_file)).origins["top"] == f"{config_file}, line 4"

    def test_that_names_no_control_groups_is_told_of_no_processes(self, config_file: Path) -> None:
        config_file.write_text('cgroup_paths = "/system.slice/*"\n')
        with pytest.raises(UsageError, match=r'none empty, e\.g\. \["/system\.slice/\*"\]$'):
            settings.load(config_file=str(config_file))

    @pytest.mark.parametrize(("size", "size_bytes"), [("500M", 500 << 20), ("100000M", 100000 << 20)])
    def test_can_allow_a_large_database(self, config_file: Path, size: str, size_bytes: int) -> None:
        config_file.write_text(f'max_size = "{size}"\n')
        assert settings.bytes_of(settings.load(config_file=str(config_file)).max_size) == size_bytes

    def test_that_is_named_must_be_there(self, perftrack: Run) -> None:
        done = perftrack("record", "--config", "nowhere.toml", expect=2)
        assert done.stderr.startswith("perftrack: config file nowhere.toml does not exist")

    def test_that_is_a_folder_is_refused_in_words(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"cannot be read: Is a directory$"):
            settings.load(config_file=str(tmp_path))

    def test_that_is_no_text_is_refused(self, config_file: Path) -> None:
        config_file.write_bytes(b"\xff\xfe")
        with pytest.raises(UsageError, match="cannot be read"):
            settings.load(config_file=str(config_file))

    def test_gives_a_relative_database_its_own_folder(self, config_file: Path) -> None:
        config_file.write_text('database = "data/perftrack.db"\n')
        assert settings.load(config_file=str(config_file)).database == str(config_file.parent / "data/perftrack.db")


class TestTheHomeFolder:
    @pytest.mark.parametrize("home", ["/home/somebody", "/home/somebody/", "/", "relative", "", None])
    @pytest.mark.parametrize("xdg", ["/elsewhere", "relative", "", None])
    def test_holds_what_platformdirs_says(
        self, home: str | None, xdg: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in (("HOME", home), ("XDG_DATA_HOME", xdg), ("XDG_CONFIG_HOME", xdg)):
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)
        folders = [os.path.dirname(path) for path in (settings.default_database(), settings.default_config_file())]
        of_user = (platformdirs.user_data_dir, platformdirs.user_config_dir)
        assert folders == [folder("perftrack", appauthor=False) for folder in of_user]

    def test_stands_for_a_tilde(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/somewhere")
        assert settings.load(environ={"PERFTRACK_DATABASE": "~/p.db"}).database == "/somewhere/p.db"

    @pytest.mark.skipif(sys.platform == "win32", reason="there is none like it")
    def test_of_a_service_is_no_folder(self, perftrack: Run) -> None:
        """So a package gives its user /dev/null."""
        env = {"HOME": "/dev/null", "XDG_CONFIG_HOME": None, "XDG_DATA_HOME": None}
        perftrack("record", env=env)
        assert perftrack("config", "show", env=env).stdout.endswith(
            "/dev/null/.config/perftrack/perftrack.toml (none)\n"
        )
        without = perftrack("record", env=env | {"PERFTRACK_DATABASE": None}, expect=1).stderr
        assert "cannot be created" in without
        assert without.count("\n") == 1

    @pytest.mark.skipif(sys.platform == "win32" or os.getuid() != 0, reason="only root can become another user")
    def test_that_nobody_knows_is_no_folder_named_tilde(self, tmp_path: Path) -> None:
        cron_line_of_a_user_without_passwd_entry = (
            "import os, sys, platformdirs, perftrack.__main__, perftrack.recording.recorder\n"
            "import perftrack.storage.failures\n"
            "os.setgid(54321)\n"
            "os.setuid(54321)\n"
            "sys.argv = ['perftrack', 'record']\n"
            "perftrack.__main__.main()\n"
        )
        tmp_path.chmod(0o777)
        done = subprocess.run(
            [sys.executable, "-c", cron_line_of_a_user_without_passwd_entry],
            env={"PATH": os.environ["PATH"]},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert "the home folder of this user is not known; set HOME or PERFTRACK_DATABASE" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("option", ["--filter", "--database"])
def test_an_option_without_text_is_named_as_it_was_typed(perftrack: Run, option: str) -> None:
    done = perftrack("record", option, "", expect=2)
    assert done.stderr == f"perftrack: {option} needs more than an empty text\n"


class TestConfigShow:
    def test_tells_each_setting_its_value_and_origin(self, perftrack: Run, path: str) -> None:
        lines = perftrack("config", "show", env={"PERFTRACK_PROCESS_FILTER": "ruby"}).stdout.splitlines()
        assert 'process_filter = ["ruby"]  # environment, PERFTRACK_PROCESS_FILTER' in lines
        assert f"database = {json.dumps(path)}  # environment, PERFTRACK_DATABASE" in lines
        assert "top = 5  # default" in lines
        assert "# top = 0 gives the rows of the original PerformanceTrack: of process_filter alone" in lines
        assert len(lines) == len(settings.SETTINGS) + 2

    def test_tells_of_a_variable_that_is_misspelt(self, perftrack: Run) -> None:
        variables = {"PERFTRACK_TPO": "0", "PERFTRACK_DEBUG": "1", "PERFTRACK_TOP": "3"}
        lines = perftrack("config", "show", env=variables).stdout.splitlines()
        assert [line for line in lines if line.startswith("# PERFTRACK_")] == [
            "# PERFTRACK_TPO is set in the environment, and is no setting of perftrack"
        ]

    def test_prints_what_a_config_file_takes(self, perftrack: Run, config_file: Path) -> None:
        shown = perftrack("config", "show").stdout
        config_file.write_text(shown)
        assert perftrack("config", "show", "--config", str(config_file)).returncode == 0
        assert set(tomllib.loads(shown)) == set(settings.SETTINGS)


class TestConfigInit:
    def test_writes_a_file_that_explains_and_changes_nothing(self, perftrack: Run) -> None:
        own = Path(settings.default_config_file())
        assert perftrack("config", "init").stdout == f"wrote {own}\n"
        assert tomllib.loads(own.read_text()) == {}
        assert stat.S_IMODE(own.parent.stat().st_mode) == 0o700
        for name, (_, _, meaning) in settings.SETTINGS.items():
            assert f"# {name} = " in own.read_text()
            assert f"# {meaning}" in own.read_text()

    def test_every_line_of_it_works_without_its_comment_sign(self, perftrack: Run, config_file: Path) -> None:
        perftrack("config", "init", "--config", str(config_file))
        lines = config_file.read_text().splitlines()
        config_file.write_text("\n".join(line[2:] if " = " in line else line for line in lines))
        assert set(settings.load(config_file=str(config_file)).origins.values()) != {"default"}

    def test_never_overwrites(self, perftrack: Run, config_file: Path) -> None:
        config_file.write_text("top = 5\n")
        done = perftrack("config", "init", "--config", str(config_file), expect=2)
        assert done.stderr == f"perftrack: {config_file} exists already; edit it, or remove it first\n"
        assert config_file.read_text() == "top = 5\n"


class TestWithoutAnArgument:
    @pytest.mark.parametrize("group", [[], ["config"], ["database"]])
    def test_a_command_with_subcommands_shows_its_help(self, perftrack: Run, group: list[str]) -> None:
        done = perftrack(*group, expect=2)
        assert done.stderr == perftrack(*group, "--help").stdout
