"""`perftrack explain`: on nights of which it is known who did what, it names them, and nobody where nobody did."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nights
import pytest
from nights import HOURS, NIGHT, Nights

from perftrack.reading.explain import Explanation, explanations
from perftrack.reading.queries import TimeRange
from perftrack.storage import opening

SEEDS = range(20)
END = NIGHT + timedelta(hours=HOURS, seconds=1)
WHOLE = ("--since", f"{NIGHT}Z", "--until", f"{END}Z")
Culprit = Callable[[Nights, datetime], str]


@pytest.fixture(scope="module")
def fortnight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a database of two weeks before a night, with what goes on beside it."""
    path = tmp_path_factory.mktemp("fortnight") / "perftrack.db"
    with closing(opening.open_current(str(path))) as connection:
        machine = Nights(connection, seed=0)
        machine.go_on(NIGHT)
        path.with_suffix(".pickle").write_bytes(pickle.dumps(machine.state()))
    return path


@pytest.fixture
def night(fortnight: Path, tmp_path: Path) -> Callable[..., tuple[str, set[str]]]:
    """Return what records the night of a seed on the machine of the fortnight: the database, and the culprits."""

    def record(seed: int, *culprits: Culprit) -> tuple[str, set[str]]:
        path = str(tmp_path / f"{seed}.db")
        shutil.copy(fortnight, path)
        with closing(opening.open_current(path)) as connection:
            machine = Nights(connection, seed + 1)
            machine.set_state(pickle.loads(fortnight.with_suffix(".pickle").read_bytes()))
            begin = NIGHT + timedelta(minutes=nights.MINUTES * machine.chance.randrange(6, 60))
            commands = {
                culprit(machine, begin + timedelta(minutes=20 * number)) for number, culprit in enumerate(culprits)
            }
            machine.go_on(NIGHT + timedelta(hours=HOURS))
        return path, commands

    return record


Night = Callable[..., tuple[str, set[str]]]


def explained(path: str) -> Explanation:
    (found,) = explanations(path, TimeRange(NIGHT.replace(tzinfo=UTC), END.replace(tzinfo=UTC)))
    return found


def named(found: Explanation) -> set[str | None]:
    """Return the command lines of all who are named."""
    owners = [owner for story in found.stories for excess in story.excesses for owner in excess.owners]
    return {owner.largest.process.command for owner in owners if owner.largest}


def is_told(night: Night, seed: int, *culprits: Culprit) -> bool:
    """Return whether those who are named in the night of *seed* are the culprits, and nobody else."""
    path, commands = night(seed, *culprits)
    return named(explained(path)) == commands


@pytest.mark.parametrize(
    "culprits",
    [
        [nights.burner],
        [nights.leak],
        [nights.disk_hog],
        [nights.burner, nights.disk_hog],
        [nights.leak, nights.burner],
    ],
    ids=lambda culprits: " and ".join(each.__name__ for each in culprits),
)
def test_the_culprits_are_named_and_nobody_else(night: Night, culprits: list[Culprit]) -> None:
    right = [seed for seed in SEEDS if is_told(night, seed, *culprits)]
    assert len(right) >= 19, right


def test_where_nobody_did_anything_nobody_is_named(night: Night) -> None:
    """Though there is a job of every night, which begins and ends a little earlier or later."""
    for seed in SEEDS:
        path, _ = night(seed)
        assert explained(path).stories == [], seed
