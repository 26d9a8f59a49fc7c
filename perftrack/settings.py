"""The settings: defaults < config file < PERFTRACK_* environment < options. Cheap to import: every tick needs it."""

from __future__ import annotations

import os
import sys

from perftrack.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

FILE_NAME = "perftrack.toml"
DATABASE_NAME = "perftrack.db"
# https://specifications.freedesktop.org/basedir-spec/
_XDG = {
    "user_data_dir": ("XDG_DATA_HOME", ".local/share"),
    "user_config_dir": ("XDG_CONFIG_HOME", ".config"),
}

CGROUP_DEPTH = 8
CGROUP_PATHS = ("*",)

# name: (kind, default, meaning). A kind's values are described in _KINDS; None stands for a default made at run time.
SETTINGS: dict[str, tuple[str, Any, str]] = {
    "database": (
        "path",
        None,
        "The SQLite file that samples are recorded in. A relative path starts at the folder of this file.",
    ),
    "process_filter": (
        "strings",
        ["java", "python"],
        "A process is recorded when its name contains one of these (case-sensitive, the first match counts).",
    ),
    "top": (
        "count",
        5,
        "Record this many of the largest processes by CPU, and as many by memory, whatever their names. 0: none.",
    ),
    "all": ("flag", False, "Record every process."),
    "cpu_window": (
        "seconds",
        1.0,
        "How long to measure CPU percentages, in seconds. 0: since the previous sample; only `top` waits, 0.2 s.",
    ),
    "memory_detail": ("flag", False, "Record uss, pss and swap of each process too (slow)."),
    "disk_floor_mib": (
        "count",
        64,
        "With less free disk space, in MiB, the database does not grow, for purging it needs room too. 0: no limit.",
    ),
    "keep_every_sample": (
        "age",
        "90d",
        "Of what is older, one sample an hour stays: no sum and no peak is lost. What `perftrack import` read stays.",
    ),
    "keep_hourly": ("age", "forever", "What is older is removed, but for what `perftrack import` read."),
    "max_size": (
        "size",
        "off",
        "With a larger database, its write-ahead log included, the oldest hours are removed.",
    ),
    "record_command": (
        "command",
        "full",
        "How much of command lines is recorded: all, with passwords masked; the program's name alone; or nothing.",
    ),
    "cgroups": ("flag", True, "Record control groups (Linux): systemd units, containers and users' sessions."),
    "cgroup_depth": ("count", CGROUP_DEPTH, "How deep: /system.slice/cron.service is 2. 0: the outermost alone."),
    "cgroup_paths": (
        "patterns",
        list(CGROUP_PATHS),
        'A control group is recorded when its path matches one of these, e.g. "/system.slice/*"; * is any text.',
    ),
    "ship_to": (
        "address",
        "",
        "The PostgreSQL database that `perftrack ship` ships to: postgresql://ROLE@HOST/DATABASE.",
    ),
    "system_csv": ("path", "system_log.csv", "Where `perftrack export` writes the system's rows."),
    "process_csv": ("path", "process_log.csv", "Where `perftrack export` writes the processes' rows."),
}
_KINDS = {
    "path": 'a path in quotes, e.g. "/var/lib/perftrack.db"',
    "address": 'an address of a PostgreSQL database without a password, e.g. "postgresql://web1@db.example.org/fleet"',
    "strings": 'a list of strings, none empty, e.g. ["java", "python"] (to record every process: all = true)',
    "patterns": 'a list of strings, none empty, e.g. ["/system.slice/*"]',
    "count": "a whole number, 0 or more",
    "flag": "true or false",
    "seconds": "a number of seconds from 0 to 3600",
    "command": '"full", "program" or "none"',
    "age": '"forever", or days, weeks or years, one day or more, e.g. "90d", "12w", "2y"',
    "size": '"off" or a size, one megabyte or more, e.g. "500M", "2G"',
}
# Of settings whose options have other names.
_OPTIONS = {"process_filter": "filter"}
_DAYS = {"d": 1, "w": 7, "y": 365}
_LONGEST_DAYS = 1000 * 365
_BYTES = {"M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


class Settings:
    """The settings in effect, and where each came from."""

    database: str
    process_filter: list[str]
    top: int
    all: bool
    cpu_window: float
    memory_detail: bool
    disk_floor_mib: int
    keep_every_sample: str
    keep_hourly: str
    max_size: str
    record_command: str
    cgroups: bool
    cgroup_depth: int
    cgroup_paths: list[str]
    ship_to: str
    system_csv: str
    process_csv: str
    origins: dict[str, str]
    config_file: str

    def __init__(self, values: Mapping[str, Any], origins: dict[str, str], config_file: str) -> None:
        """*values*: one for each of SETTINGS. *config_file*: the file that was read, if it exists."""
        for name, value in values.items():
            setattr(self, name, value)
        self.origins = origins
        self.config_file = config_file


def load(
    options: Mapping[str, Any] | None = None,
    config_file: str | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Return the settings in effect. *options*: those given on the command line, by name; None where not given.

    Raises: UsageError for a named config file that cannot be read, an unknown key or a wrong value.
    """
    named = config_file or environ.get("PERFTRACK_CONFIG")
    path = expand(named, "PERFTRACK_CONFIG") if named else usual_config_file()
    values = {name: default for name, (_, default, _) in SETTINGS.items()}
    origins = dict.fromkeys(SETTINGS, "default")
    for name, (value, line) in _read_file(path, must_exist=bool(named)).items():
        values[name], origins[name] = value, f"{path}, line {line}"
    for name in SETTINGS:
        variable = f"PERFTRACK_{name.upper()}"
        if variable in environ:
            values[name], origins[name] = (
                _parse(name, environ[variable], variable),
                f"environment, {variable}",
            )
    for name, value in (options or {}).items():
        if value is not None:
            option = f"--{_OPTIONS.get(name, name).replace('_', '-')}"
            if value in ("", [""]) and SETTINGS[name][0] in {"path", "strings"}:
                raise UsageError(f"{option} needs more than an empty text")
            values[name], origins[name] = _check(name, value, option), "option"
    if values["database"] is None:
        values["database"] = default_database()
    values["database"] = os.path.abspath(expand(values["database"], "the database's path"))
    return Settings(values, origins, path)


def usual_config_file() -> str:
    """Return the config file's path, empty where this user has no home folder to keep one in."""
    try:
        return default_config_file()
    except UsageError:
        return ""


def default_database() -> str:
    """Return the database's path when nothing names one: in the user's data folder."""
    return os.path.join(_user_folder("user_data_dir", "PERFTRACK_DATABASE"), DATABASE_NAME)


def default_config_file() -> str:
    """Return the config file's path when nothing names one: in the user's config folder."""
    return os.path.join(_user_folder("user_config_dir", "PERFTRACK_CONFIG"), FILE_NAME)


def _user_folder(kind: str, instead: str) -> str:
    """Return one of platformdirs' folders. Raises: UsageError where this user has no home folder."""
    xdg_variable, below_home = _XDG[kind]
    home = os.environ.get("HOME", "")
    if sys.platform == "linux" and home.startswith("/") and xdg_variable not in os.environ:
        # The usual case, which a tick meets every minute: importing platformdirs would be a sixth of its cost.
        return os.path.join(home, below_home, "perftrack")

    import platformdirs

    try:
        return expand(getattr(platformdirs, kind)("perftrack", appauthor=False), instead)
    except RuntimeError:  # platformdirs 4.11 and later say it themselves
        raise UsageError(f"the home folder of this user is not known; set HOME or {instead}") from None


def expand(path: str, what: str) -> str:
    """Return *path* with a leading ~ replaced. Raises: UsageError where this user has no home folder."""
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        raise UsageError(f"{path}: the home folder of this user is not known; set HOME or give {what} in full")
    return expanded


def _read_file(path: str, *, must_exist: bool) -> dict[str, tuple[Any, int]]:
    """Return the settings of a config file, each with its line. Raises: UsageError."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (FileNotFoundError, NotADirectoryError):  # HOME=/dev/null
        if must_exist:
            raise UsageError(f"config file {path} does not exist; `perftrack config init` writes one") from None
        return {}
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"config file {path} cannot be read: {why}") from None

    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"config file {path}: {error}") from None
    found = {}
    for name, value in table.items():
        line = _line_of(name, text)
        where = f"config file {path}, line {line}"
        if name not in SETTINGS:
            raise UsageError(f"{where}: unknown setting {name!r}; the settings are {', '.join(SETTINGS)}")
        checked = _check(name, value, f"{where}, {name}")
        if name == "database" and not checked.startswith("~"):
            checked = os.path.join(os.path.dirname(os.path.abspath(path)), checked)
        found[name] = (checked, line)
    return found


def _line_of(name: str, text: str) -> int:
    """Return the number of the line that *name* is set in; 1 where it is not written in a plain way."""
    import re

    sets = re.compile(rf"""[\s\["']*{re.escape(name)}["']?\s*[=.\]]""")
    return next((number for number, line in enumerate(text.splitlines(), start=1) if sets.match(line)), 1)


def _parse(name: str, text: str, where: str) -> Any:
    """Return the value that *text* of an environment variable stands for. Raises: UsageError."""
    kind = SETTINGS[name][0]
    value: Any = text
    if kind in {"strings", "patterns"}:
        value = [part.strip() for part in text.split(",") if part.strip()]
    elif kind == "flag":
        value = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(text.lower())
    elif kind in {"count", "seconds"}:
        try:
            value = int(text) if kind == "count" else float(text)
        except ValueError:
            value = None
    if value is None:
        raise UsageError(f"{where}={text!r} is not {_KINDS[kind]}")
    return _check(name, value, where)


def _check(name: str, value: Any, where: str) -> Any:
    """Return *value* if it fits the setting *name*. Raises: UsageError."""
    kind = SETTINGS[name][0]
    number = isinstance(value, int | float) and not isinstance(value, bool)
    is_list = isinstance(value, list) and all(isinstance(text, str) and text for text in value)
    fits = {
        "path": isinstance(value, str) and value != "" and "\0" not in value,
        "address": isinstance(value, str) and "\0" not in value,
        "strings": is_list,
        "patterns": is_list,
        "count": isinstance(value, int) and number and value >= 0,
        "flag": isinstance(value, bool),
        "seconds": number and 0 <= value <= 3600,
        "command": value in ("full", "program", "none"),
        "age": is_age(value),
        "size": value == "off" or _amount(value, _BYTES) > 0,
    }[kind]
    if not fits:
        raise UsageError(f"{where}: {value!r} is not {_KINDS[kind]}")
    return float(value) if kind == "seconds" else value


def is_age(value: Any) -> bool:
    """Return whether *value* is one of kind age: forever, or days, weeks or years."""
    return value == "forever" or _amount(value, _DAYS) > 0


def days_of(age: str) -> int | None:
    """Return the days of a value of kind age; None: forever. They can be counted from any instant."""
    return None if age == "forever" else min(_amount(age, _DAYS), _LONGEST_DAYS)


def bytes_of(size: str) -> int | None:
    """Return the bytes of a value of kind size; None: off."""
    return None if size == "off" else _amount(size, _BYTES)


def _amount(text: Any, units: Mapping[str, int]) -> int:
    """Return what a number and a unit say, e.g. 90d; 0: it is none."""
    if not isinstance(text, str):
        return 0
    number, unit = text[:-1], text[-1:]
    is_number = number.isascii() and number.isdigit() and len(number) < 10
    return int(number) * units.get(unit, 0) if is_number else 0
