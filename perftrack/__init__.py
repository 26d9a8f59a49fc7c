"""perftrack records what a machine and its processes were doing into SQLite."""

__version__ = "0.1.0"
