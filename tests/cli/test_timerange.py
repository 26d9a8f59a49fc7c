"""Times as people type them: every accepted form, the days on which the clock changes, and what is refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from perftrack.errors import UsageError
from perftrack.timerange import parse_duration, parse_instant

NOW = datetime(2026, 11, 23, 5, 0, 30, tzinfo=UTC)  # 06:00:30 in Berlin


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()


def instant(text: str, now: datetime = NOW) -> str:
    return parse_instant(text, now).strftime("%Y-%m-%d %H:%M:%S")


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2026-11-20", "2026-11-19 23:00:00"),
        ("2026-11-20 14:30", "2026-11-20 13:30:00"),
        ("2026-11-20 14:30:05", "2026-11-20 13:30:05"),
        ("2026-11-20 9:30", "2026-11-20 08:30:00"),
        ("2026-07-20 14:30", "2026-07-20 12:30:00"),
        ("14:30", "2026-11-23 13:30:00"),
        ("9:05:07", "2026-11-23 08:05:07"),
        ("now", "2026-11-23 05:00:30"),
        ("today", "2026-11-22 23:00:00"),
        ("yesterday", "2026-11-21 23:00:00"),
        ("tomorrow", "2026-11-23 23:00:00"),
        ("2h", "2026-11-23 03:00:30"),
        ("-2h", "2026-11-23 03:00:30"),
        ("90m", "2026-11-23 03:30:30"),
        ("1h30m", "2026-11-23 03:30:30"),
        ("1.5h", "2026-11-23 03:30:30"),
        ("30s", "2026-11-23 05:00:00"),
        ("7d", "2026-11-16 05:00:30"),
        ("1w", "2026-11-16 05:00:30"),
        ("2 hours ago", "2026-11-23 03:00:30"),
        ("  1 hour 30 minutes  ago ", "2026-11-23 03:30:30"),
        ("@1790000000", "2026-09-21 14:13:20"),
        ("2026-11-20T14:30", "2026-11-20 13:30:00"),
        ("2026-11-20T14:30:05Z", "2026-11-20 14:30:05"),
        ("2026-11-20 14:30 UTC", "2026-11-20 14:30:00"),
        ("2026-11-20T14:30:05+01:00", "2026-11-20 13:30:05"),
        ("2026-11-20T14:30:05-0530", "2026-11-20 20:00:05"),
        ("2026-11-20 14:30:05.25", "2026-11-20 13:30:05"),
    ],
)
@pytest.mark.usefixtures("berlin")
def test_every_accepted_form(text: str, utc: str) -> None:
    assert instant(text) == utc


@pytest.mark.parametrize(
    "text",
    ["", "-", "foo", "2x", "2026-02-30", "2026-13-01", "25:00", "14:60", "2026-11-20 14", "@", "@nan", "@1e400",
     "99999999999d", "20261120", "2026-11-20T14:30:05+1", "1h30", "--2h", "2026-11-20 14:30 CET"],
)  # fmt: skip
def test_anything_else_is_a_usage_error_that_shows_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match=r"accepts 2026-11-20, .*14:30.*2 hours ago.*@1790000000") as error:
        parse_instant(text, NOW)
    assert error.value.exit_code == 2


@pytest.mark.usefixtures("berlin")
class TestTheDayTheClockGoesForward:
    """29 March 2026: 02:00 becomes 03:00; the day has 23 hours."""

    def test_before_and_after(self) -> None:
        assert instant("2026-03-29 01:59") == "2026-03-29 00:59:00"
        assert instant("2026-03-29 03:00") == "2026-03-29 01:00:00"

    def test_a_time_that_is_left_out_counts_from_the_offset_before(self) -> None:
        assert instant("2026-03-29 02:30") == instant("2026-03-29 03:30") == "2026-03-29 01:30:00"

    def test_yesterday_begins_23_hours_before_today(self) -> None:
        now = datetime(2026, 3, 30, 8, tzinfo=UTC)
        assert parse_instant("today", now) - parse_instant("yesterday", now) == timedelta(hours=23)

    def test_a_span_is_exact(self) -> None:
        now = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
        assert instant("2h", now) == "2026-03-28 23:30:00"


@pytest.mark.usefixtures("berlin")
class TestTheDayTheClockGoesBack:
    """25 October 2026: 03:00 becomes 02:00; the hour from two to three comes twice, the day has 25 hours."""

    def test_a_doubled_time_is_its_first_occurrence(self) -> None:
        assert instant("2026-10-25 02:30") == "2026-10-25 00:30:00"

    def test_the_second_occurrence_can_be_named_by_its_offset(self) -> None:
        assert instant("2026-10-25T02:30+01:00") == "2026-10-25 01:30:00"

    def test_yesterday_begins_25_hours_before_today(self) -> None:
        now = datetime(2026, 10, 26, 8, tzinfo=UTC)
        assert parse_instant("today", now) - parse_instant("yesterday", now) == timedelta(hours=25)


@pytest.mark.parametrize(("text", "seconds"), [("10s", 10), ("1m", 60), ("1h30m", 5400), ("10", 10), ("0.5s", 0.5)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text).total_seconds() == seconds


@pytest.mark.parametrize("text", ["", "0", "0s", "soon", "-5s", "10x"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError, match="no duration"):
        parse_duration(text)
