"""Devices that come and go, really: a pair of network interfaces, and a loop device on top of a disk."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import query

from perftrack.recording import linux_system
from perftrack.recording.recorder import record_one
from perftrack.settings import Settings

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="root makes Linux' devices"),
    pytest.mark.xdist_group("devices"),
]


def run(*command: str) -> str:
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{' '.join(command)} is not allowed here: {done.stderr}")
    return done.stdout.strip()


@pytest.fixture
def interface() -> Iterator[str]:
    """A network interface like that of a container, with a neighbour that takes all that is sent to it."""
    name = f"pt{os.getpid()}"
    run("ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}b")
    for command in (
        ("address", "add", "192.0.2.1/30", "dev", name),
        ("link", "set", name, "up"),
        ("link", "set", f"{name}b", "up"),
        ("neighbour", "add", "192.0.2.2", "lladdr", "02:00:00:00:00:01", "dev", name),
    ):
        run("ip", *command)
    yield name
    subprocess.run(["ip", "link", "delete", name], check=False, capture_output=True)


def send(count: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(count):
            sender.sendto(bytes(1400), ("192.0.2.2", 9))


def test_an_interface_that_is_removed_makes_its_interval_unknown(
    settings: Callable[..., Settings], path: str, interface: str
) -> None:
    record_one(settings())
    send(1000)
    record_one(settings())
    send(1000)
    run("ip", "link", "delete", interface)
    record_one(settings())
    record_one(settings())
    sent = query(path, "SELECT net_sent_bytes FROM system_interval ORDER BY sample_id")
    assert sent[0] >= 1_400_000
    assert sent[1] is None
    assert sent[2] >= 0


def test_what_a_loop_device_reads_is_counted_once(tmp_path: Path) -> None:
    """By the disk below it; and that it goes makes no interval unknown."""
    image = tmp_path / "image"
    image.write_bytes(os.urandom(1 << 20) * 16)
    device = run("losetup", "--find", "--show", str(image))
    try:
        before = linux_system.disks()
        run("dd", f"if={device}", "of=/dev/null", "bs=1M", "iflag=direct")
        after = linux_system.disks()
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    assert os.path.basename(device) not in str(before["disk_set"])
    assert after["disk_set"] == before["disk_set"] == linux_system.disks()["disk_set"]
    assert (
        after["disk_read_bytes"] - before["disk_read_bytes"] < 16 << 20
    )  # it is in the page cache of the disk's file
