"""Units of systemd: a timer and what it starts, or a service that goes on; root's for the system, a user's own."""

from __future__ import annotations

import getpass
import glob
import os
import re
import shlex
from datetime import datetime

from perftrack.errors import PerftrackError
from perftrack.private import make_folder
from perftrack.programs import run
from perftrack.scheduling import files
from perftrack.scheduling.job import MINUTE, Job, require_text
from perftrack.scheduling.schedule import NOTE, SHIP, Schedule, is_system, one_line, target, task_of

SYSTEM = "/etc/systemd/system"
UNITS = (SYSTEM, "/run/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system", "/etc/systemd/user")
RUNS = "/run/systemd/system"  # sd_booted(3)
LINGER = "/var/lib/systemd/linger"
_SETTING = re.compile(r"^(ExecStart|Environment|User)=[-@:+!]*(.*)$", re.MULTILINE)
# Of /proc it reads the processes of all users: no ProtectProc, ProcSubset or PrivateUsers; and the counters of the
# network: no PrivateNetwork. The users' names may come from a directory elsewhere: no RestrictAddressFamilies.
_HARDENING = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictNamespaces=yes
SystemCallArchitectures=native
UMask=0077
"""
# For these, systemd makes a mount namespace, which a user's own can only with PrivateUsers. The capabilities: to read
# what the kernel tells of others' processes, and to write a database that is another user's, and leave it theirs.
_SYSTEM_HARDENING = """\
ProtectSystem=strict
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
CapabilityBoundingSet=CAP_SYS_PTRACE CAP_DAC_READ_SEARCH CAP_DAC_OVERRIDE CAP_CHOWN CAP_FOWNER
"""


def found() -> list[Schedule]:
    """Return the services that record or ship, as timers where they have one. What cannot be read is skipped."""
    folders = dict.fromkeys(os.path.realpath(folder) for folder in [*UNITS, _user_folder()])
    return [
        schedule
        for folder in folders
        for path in sorted(glob.glob(f"{glob.escape(folder)}/*.service"))
        for schedule in _schedules(path, files.read(path))
    ]


def _schedules(path: str, text: str) -> list[Schedule]:
    settings = [
        (match[1], match[2].replace("%h", os.path.expanduser("~")).replace("%%", "%"))
        for match in _SETTING.finditer(text)
    ]
    variables = [word for setting, value in settings if setting == "Environment" for word in shlex.split(value)]
    environ = dict(word.partition("=")[::2] for word in variables)
    user = None
    if not os.path.dirname(path).endswith("user"):
        user = next((value for setting, value in settings if setting == "User"), "root")
        user = None if user == getpass.getuser() else user
    timer = path.removesuffix(".service") + ".timer"
    kind, where = ("systemd timer", timer) if os.path.exists(timer) else ("systemd service", path)
    return [
        Schedule(
            "systemd",
            kind,
            where,
            one_line(f"ExecStart={command}"),
            target(command.replace("$$", "$"), environ, user),
            NOTE in text,
            task,
        )
        for setting, command in settings
        if setting == "ExecStart" and (task := task_of(command)) is not None
    ]


def contents(job: Job) -> list[tuple[str, str]]:
    """Return the files of *job*, each with its text. Raises: UsageError."""
    require_text(job.command, "systemd")
    is_of_system = is_system()
    folders = _words(dict.fromkeys([os.path.dirname(job.database), os.path.dirname(os.path.realpath(job.database))]))
    unit = f"Description={job.description} (perftrack)\n"
    service = unit + (f"RequiresMountsFor={folders}\n" if is_of_system else "")
    service += (
        f"\n[Service]\nType={'exec' if job.is_loop else 'oneshot'}\nExecStart={_command(job.command)}\nNice=10\n"
    )
    if job.is_loop:
        service += "Restart=always\nRestartSec=10s\n"
    service += _HARDENING
    if is_of_system:
        service += f"{_SYSTEM_HARDENING}ReadWritePaths={folders}{_clone(job.command[0])}\n"
    if job.is_loop:
        service += f"\n[Install]\nWantedBy={'multi-user' if is_of_system else 'default'}.target\n"
    texts = [(f"{job.name}.service", service)]
    if not job.is_loop:
        timer = f"{unit}\n[Timer]\nOnCalendar={_calendar(job)}\nAccuracySec=1s\n"
        if job.task == SHIP:  # made of the machine-id, the user and the unit: systemd.timer(5)
            timer += f"RandomizedDelaySec={job.every_seconds // MINUTE}min\nFixedRandomDelay=true\n"
        timer += "\n[Install]\nWantedBy=timers.target\n"
        texts.append((f"{job.name}.timer", timer))
    return [(os.path.join(_folder(), name), f"# {NOTE}\n[Unit]\n{text}") for name, text in texts]


def obstacle() -> str | None:
    """Return what is in the way of installing here, and what to do about it."""
    if not os.path.isdir(RUNS):
        return "systemd does not run here: use --using cron"
    reached = run("systemctl", *_scope(), "show", "--property=Version")
    if reached.exit_code:
        return (
            f"your systemd cannot be reached ({reached.error}): log in as {getpass.getuser()} instead of using su or "
            "sudo, or give --using cron"
        )
    return None


def missing(schedule: Schedule) -> list[str]:
    """Return what keeps the unit from being started, and what to do about it."""
    unit, scope = os.path.basename(schedule.where), _scope()
    said = []
    if run("systemctl", *scope, "is-active", unit).exit_code:
        said.append(f"{unit} is not active: {' '.join(['systemctl', *scope, 'enable --now', unit])}")
    if scope and not os.path.exists(os.path.join(LINGER, getpass.getuser())):
        said.append("lingering is off, so nothing is recorded while you are logged out: loginctl enable-linger")
    return said


def install(job: Job) -> None:
    """Write the units of *job* and start them, or leave all as it was. Raises: PerftrackError."""
    wanted: dict[str, str | None] = dict(contents(job))
    paths = [os.path.join(_folder(), f"{job.name}{kind}") for kind in (".service", ".timer")]
    files.refuse_what_is_not_ours(*paths)
    before = {path: files.read(path) or None for path in paths}
    after = {path: wanted.get(path) for path in paths}
    folder = os.path.dirname(job.database)
    try:
        make_folder(folder)  # ReadWritePaths has to be there
    except OSError as error:
        raise PerftrackError(f"{folder}: {error.strerror}; nothing was changed") from None
    if not os.path.isdir(folder):
        raise PerftrackError(f"{folder} is no folder for a database; nothing was changed")
    try:
        _change(before, after)
    except PerftrackError as error:
        try:
            _change(after, before)
        except PerftrackError:
            for path, text in before.items():
                files.replace(path, text)
        raise error from None


def remove(schedule: Schedule) -> None:
    """Stop the units of *schedule* and remove them, and nothing else. Raises: PerftrackError."""
    stem = os.path.splitext(schedule.where)[0]
    paths = [f"{stem}{kind}" for kind in (".service", ".timer")]
    before = {path: files.read(path) or None for path in paths}
    if os.path.dirname(stem) != _folder():
        raise PerftrackError(f"{schedule.where} is the system's: run `perftrack schedule remove` as root")
    _change(before, dict.fromkeys(paths))


def next_run(schedule: Schedule, now: datetime) -> datetime | None:
    """Return when the timer elapses next, in the zone of *now*; None: not known."""
    unit = os.path.basename(schedule.where)
    told = run("systemctl", *_scope(), "show", unit, "--property=NextElapseUSecRealtime", TZ="UTC").output.decode()
    at = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", told)  # nothing while the service runs
    return datetime.strptime(f"{at[0]}+0000", "%Y-%m-%d %H:%M:%S UTC%z").astimezone(now.tzinfo) if at else None


def _change(before: dict[str, str | None], after: dict[str, str | None]) -> None:
    """Let the files be as *after* and their unit be started, where there is one. Raises: PerftrackError."""
    if before != after:
        old = [os.path.basename(path) for path, text in before.items() if text]
        is_reached = obstacle() is None
        if old and is_reached:
            _systemctl("disable", "--now", *old)
        for path, text in after.items():
            files.replace(path, text)
        if is_reached:
            _systemctl("daemon-reload")
        else:  # nothing runs that could be stopped; what enabled it are links
            for link in (link for name in old for link in glob.glob(f"{glob.escape(_folder())}/*.wants/{name}")):
                files.replace(link, None)
    new = [os.path.basename(path) for path, text in after.items() if text and "[Install]" in text]
    if new:
        _systemctl("enable", "--now", *new)


def _systemctl(*words: str) -> None:
    done = run("systemctl", *_scope(), *words, wait_seconds=100)
    if done.exit_code:
        raise PerftrackError(f"systemctl {words[0]} failed, and all was left as it was: {done.error}")


def _scope() -> list[str]:
    return [] if is_system() else ["--user"]


def _folder() -> str:
    return SYSTEM if is_system() else _user_folder()


def _user_folder() -> str:
    return os.path.join(os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config"), "systemd", "user")


def _calendar(job: Job) -> str:
    minutes = job.every_seconds // MINUTE
    hours = "00" if minutes == 24 * 60 else f"0/{minutes // 60}"
    return f"*-*-* {hours}:00:00" if minutes >= 60 else f"*-*-* *:0/{minutes}:00"


def _clone(program: str) -> str:
    """Return the folder of the clone that *program* is in: it brings its environment up to date when it is pulled."""
    folder = os.path.dirname(program)
    return f" {_words([os.path.dirname(folder)])}" if os.path.exists(os.path.join(folder, ".environment")) else ""


def _command(words: list[str]) -> str:
    """Return *words* as ExecStart has them; in the first one no variable is looked for."""
    if re.search(r"[\\'\"]", words[0]):  # which systemd takes for no program
        words = ["/bin/sh", "-c", 'exec "$0" "$@"', *words]
    return " ".join([_words(words[:1]), _words(words[1:]).replace("$", "$$")])


def _words(words: list[str] | dict[str, None]) -> str:
    """Return *words* as units have them: systemd.syntax(7), and % for specifiers, systemd.unit(5)."""
    escaped = (re.sub(r'[\\"]', r"\\\g<0>", word).replace("%", "%%") for word in words)
    return " ".join(word if re.fullmatch(r"[\w@%+=:,./$-]+", word) else f'"{word}"' for word in escaped)
