"""How much memory and time reading a file of the original may take: many times what an honest one does."""

from __future__ import annotations

from contextlib import suppress

LARGEST_PIPE_BYTES = 2**30
_MEBIBYTE = 2**20


def limit_resources(size: int) -> None:
    """Limit this process to what a file of *size* bytes can need, where the system has such limits (not Windows)."""
    try:
        import resource
    except ModuleNotFoundError:
        return
    for kind, most in (
        (resource.RLIMIT_AS, memory_bytes(size)),
        (resource.RLIMIT_CPU, cpu_seconds(size)),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        soft, hard = resource.getrlimit(kind)
        least = min(limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY)
        # The soft limit of CPU time ends the process by a signal that says so, the hard one by a mere SIGKILL.
        with suppress(OSError, ValueError):  # not on this system
            resource.setrlimit(kind, (least, hard if kind == resource.RLIMIT_CPU else least))


def memory_bytes(size: int) -> int:
    """Return the address space that reading a file of *size* bytes may take; an honest one takes 15 times that."""
    return 512 * _MEBIBYTE + 60 * size


def cpu_seconds(size: int) -> int:
    """Return the CPU time that reading may take; an honest file takes 0.03 seconds a mebibyte."""
    return 10 + size // _MEBIBYTE


def wall_seconds(size: int) -> int:
    """Return how long reading may take in all, also where it waits for a disk, a pipe or other programs.

    While a person has stopped it, or both processes, no time passes.
    """
    return 60 + 10 * cpu_seconds(size)


def answer_bytes(size: int) -> int:
    """Return how long the answer can be: an entry takes about as much room in a line of it as in a pickle."""
    return 16 * _MEBIBYTE + 4 * size
