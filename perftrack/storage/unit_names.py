"""What a person calls a control group: the systemd unit, container or session that its path says."""

from __future__ import annotations

import pwd
import re
from functools import lru_cache

# What container engines call their groups, each with the ID's first characters as the engine itself shows them.
_CONTAINERS = (
    ("docker", re.compile(r"/docker[-/]([0-9a-f]{12})[0-9a-f]{52}")),
    ("podman", re.compile(r"/libpod-([0-9a-f]{12})[0-9a-f]{52}")),
    ("cri-o", re.compile(r"/crio-([0-9a-f]{12})[0-9a-f]{52}")),
    ("containerd", re.compile(r"/(?:[^/]*:)?(?:cri-containerd|nerdctl)[-:]([0-9a-f]{12})[0-9a-f]{52}")),
    ("lxc", re.compile(r"/lxc(?:\.payload\.|/)([^/]+)")),
    ("container", re.compile(r"/(?:[^/]*[-:])?([0-9a-f]{12})[0-9a-f]{52}(?:\.scope)?(?=/|$)")),
)
# /kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0a1b2c3d_9e8f.slice, or /kubepods/burstable/pod0a1b
_POD = re.compile(r"/kubepods.*?pod([0-9a-f]{8})[-_0-9a-f]*(?:\.slice)?(?=/|$)")
_USER = re.compile(r"/user\.slice/user-(\d+)\.slice(?=/|$)(/user@\d+\.service(?=/|$))?")
# https://www.freedesktop.org/software/systemd/man/latest/systemd.unit.html: the kinds that have processes.
_UNIT = re.compile(r"/([^/]+\.(?:service|scope|socket|mount|swap))(?=/|$)")
_SLICE = re.compile(r"/([^/]+\.slice)(?=/|$)")


@lru_cache(4000)
def unit(path: str) -> str:
    """Return the name of what the group of this *path* belongs to; a container in another is the outer one.

    "cron.service"; "docker 3f2a1b0c9d8e"; "pod 0a1b2c3d" and "pod 0a1b2c3d, containerd 3f2a1b0c9d8e";
    "alice: sessions" for all that is in a login, "alice: app.service" for what her own systemd runs; a slice;
    else the path itself.
    """
    user = _USER.search(path)
    whose = f"{name_of_user(int(user[1]))}: " if user else ""
    rest = path[user.end() :] if user else path
    pod = _POD.search(rest)
    if pod:
        whose += f"pod {pod[1]}"
        rest = rest[pod.end() :]
        container = _container(rest)
        return f"{whose}, {container}" if container else whose
    container = _container(rest)
    if container:
        return whose + container
    if user and not user[2]:
        return f"{whose}sessions" if rest else f"{whose}user-{user[1]}.slice"
    found = _UNIT.search(rest)
    slices = _SLICE.findall(rest)
    if found:
        return whose + found[1]
    if slices:
        return whose + str(slices[-1])
    return f"{whose}user@{user[1]}.service" if user else path


def _container(path: str) -> str:
    for engine, pattern in _CONTAINERS:
        found = pattern.search(path)
        if found:
            return f"{engine} {found[1]}"
    return ""


def name_of_user(uid: int) -> str:
    """Return the name of a user, or the number where that is nobody's."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
