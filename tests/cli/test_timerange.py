"""Times as people type them: every accepted form, the days on which the clock changes, and what is refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from perftrack.cli import options
from perftrack.errors import UsageError
from perftrack.timerange import parse_duration, parse_instant, parse_range

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
        ("14:30", "2026-11-22 13:30:00"),
        ("5:05:07", "2026-11-23 04:05:07"),
        ("06:00:30", "2026-11-23 05:00:30"),
        ("06:00:30.000001", "2026-11-22 05:00:30"),
        ("00:00", "2026-11-22 23:00:00"),
        ("now", "2026-11-23 05:00:30"),
        ("today", "2026-11-22 23:00:00"),
        ("yesterday", "2026-11-21 23:00:00"),
        ("tomorrow", "2026-11-23 23:00:00"),
        ("monday", "2026-11-22 23:00:00"),
        ("Mon", "2026-11-22 23:00:00"),
        ("tuesday", "2026-11-16 23:00:00"),
        ("wed", "2026-11-17 23:00:00"),
        ("thursday", "2026-11-18 23:00:00"),
        ("fri", "2026-11-19 23:00:00"),
        ("sat", "2026-11-20 23:00:00"),
        ("sunday", "2026-11-21 23:00:00"),
        ("yesterday 14:30", "2026-11-22 13:30:00"),
        ("today 23:00", "2026-11-23 22:00:00"),
        ("Monday 5:00", "2026-11-23 04:00:00"),
        ("mon 06:01", "2026-11-16 05:01:00"),
        ("sun 23:59:59", "2026-11-22 22:59:59"),
        ("2h", "2026-11-23 03:00:30"),
        ("-2h", "2026-11-23 03:00:30"),
        ("90m", "2026-11-23 03:30:30"),
        ("1h30m", "2026-11-23 03:30:30"),
        ("1.5h", "2026-11-23 03:30:30"),
        ("30s", "2026-11-23 05:00:00"),
        ("7d", "2026-11-16 05:00:30"),
        ("1w", "2026-11-16 05:00:30"),
        ("now-10m", "2026-11-23 04:50:30"),
        ("now - 1h30m", "2026-11-23 03:30:30"),
        ("2 hours ago", "2026-11-23 03:00:30"),
        ("last 10 minutes", "2026-11-23 04:50:30"),
        ("last 2 hours", "2026-11-23 03:00:30"),
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
     "99999999999d", "20261120", "2026-11-20T14:30:05+1", "1h30", "--2h", "2026-11-20 14:30 CET", "now-", "now+10m",
     "now10m", "last", "last monday", "last 10 minutes ago", "mo", "monday 25:00", "monday14:30",
     "now 14:30", "nowadays", "1:2:3",
     "0001-01-01", "0001-12-31T23:59Z", "9999-01-01 00:00Z", "9999-12-31", "739900d"],
)  # fmt: skip
def test_anything_else_is_a_usage_error_that_shows_the_forms(text: str) -> None:
    with pytest.raises(UsageError, match=r"accepts 2026-11-20, .*14:30.*now-10m.*2 hours ago.*@1790000000") as error:
        parse_instant(text, NOW)
    assert error.value.exit_code == 2


@pytest.mark.usefixtures("berlin")
class TestARangeOfClockTimes:
    """Each is the latest; but an end that is not after its beginning is the first one after it."""

    @pytest.mark.parametrize(
        ("now", "since", "until", "utc"),
        [
            ("09:00", "23:00", "02:00", "22 22:00, 23 01:00"),  # last night
            ("01:00", "02:00", "03:00", "22 01:00, 22 02:00"),  # yesterday
            ("00:04", "23:44", None, "22 22:44"),
            ("09:00", "08:00", "10:00", "23 07:00, 23 09:00"),  # as far as there are samples
            ("00:04", "23:00", "00:30", "22 22:00, 22 23:30"),
            ("23:30", "23:00", "02:00", "23 22:00, 24 01:00"),
            ("15:00", "14:00", "14:00", "23 13:00, 24 13:00"),
            ("09:00", "today", "10:00", "22 23:00, 23 09:00"),
            ("09:00", "yesterday", "10:00", "21 23:00, 22 09:00"),
            ("09:00", "2d", "10:00", "21 08:00, 22 09:00"),
            # where the beginning names a day, that one is meant, or the next
            ("09:00", "2026-11-20 12:00", "10:00", "20 11:00, 21 09:00"),
            ("09:00", "2026-11-20", "10:00", "19 23:00, 20 09:00"),
            ("09:00", "yesterday 22:00", "06:00", "22 21:00, 23 05:00"),
            ("09:00", "fri 22:00", "6:00", "20 21:00, 21 05:00"),
            ("09:00", "2026-11-24 12:00", "10:00", "24 11:00, 25 09:00"),
            ("09:00", None, "10:00", "22 09:00"),
        ],
    )
    def test_is_the_one_that_is_meant(
        self, now: str, since: str | None, until: str | None, utc: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        present = datetime.fromisoformat(f"2026-11-23 {now}").astimezone()
        monkeypatch.setattr(options, "datetime", SimpleNamespace(now=present.astimezone))
        span = options.time_range(since, until)
        found = [instant for instant in (span.since, span.until) if instant is not None]
        assert ", ".join(f"{instant:%d %H:%M}" for instant in found) == utc

    @pytest.mark.parametrize(
        ("text", "utc"),
        [
            ("2026-11-20 14:00..16:00", "20 13:00, 20 15:00"),
            ("2026-11-20  14:00 .. 16:00", "20 13:00, 20 15:00"),
            ("2026-11-20 22:00..06:00", "20 21:00, 21 05:00"),
            ("yesterday 22:00..2:00", "22 21:00, 23 01:00"),
            ("yesterday 22:00..now", "22 21:00, 23 05:00"),
            ("02:00..03:00", "23 01:00, 23 02:00"),
            ("today..23:00", "22 23:00, 23 05:00"),
            ("2026-11-20", "19 23:00, 20 23:00"),
            ("2026-11-19..2026-11-20", "18 23:00, 20 23:00"),
        ],
    )
    def test_of_compare_likewise(self, text: str, utc: str) -> None:
        assert ", ".join(f"{instant:%d %H:%M}" for instant in parse_range(text, NOW)) == utc

    def test_that_is_dated_must_not_be_the_wrong_way_around(self) -> None:
        with pytest.raises(UsageError, match="--since today is later than --until yesterday"):
            options.time_range("today", "yesterday")


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

    @pytest.mark.parametrize("text", ["2h", "now-2h", "last 2 hours"])
    def test_a_span_is_exact(self, text: str) -> None:
        now = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
        assert instant(text, now) == "2026-03-28 23:30:00"

    def test_a_clock_time_is_the_latest(self) -> None:
        now = datetime(2026, 3, 29, 1, 10, tzinfo=UTC)  # 03:10, ten minutes after 01:59
        assert instant("01:50", now) == "2026-03-29 00:50:00"
        assert instant("03:05", now) == "2026-03-29 01:05:00"
        assert instant("03:20", now) == "2026-03-28 02:20:00"
        assert instant("02:30", now) == "2026-03-28 01:30:00"  # today's counts as 03:30

    def test_a_range_over_it_is_an_hour_shorter(self) -> None:
        now = datetime(2026, 3, 29, 8, tzinfo=UTC)
        since = parse_instant("23:00", now)
        assert parse_instant("04:00", now, since) - since == timedelta(hours=4)

    def test_a_weekday_begins_at_its_midnight(self) -> None:
        now = datetime(2026, 3, 29, 8, tzinfo=UTC)  # a Sunday
        assert instant("sunday", now) == "2026-03-28 23:00:00"
        assert instant("sunday", now + timedelta(days=1)) == "2026-03-28 23:00:00"
        assert instant("monday", now + timedelta(days=1)) == "2026-03-29 22:00:00"


@pytest.mark.usefixtures("berlin")
class TestTheDayTheClockGoesBack:
    """25 October 2026: 03:00 becomes 02:00; the hour from two to three comes twice, the day has 25 hours."""

    def test_a_doubled_time_is_its_first_occurrence(self) -> None:
        assert instant("2026-10-25 02:30") == "2026-10-25 00:30:00"

    def test_a_bare_clock_time_is_its_first_occurrence_too(self) -> None:
        assert instant("02:30", datetime(2026, 10, 25, 1, 45, tzinfo=UTC)) == "2026-10-25 00:30:00"
        assert instant("02:30", datetime(2026, 10, 25, 1, 15, tzinfo=UTC)) == "2026-10-25 00:30:00"
        assert instant("02:30", datetime(2026, 10, 25, 0, 15, tzinfo=UTC)) == "2026-10-24 00:30:00"

    def test_a_range_over_it_is_an_hour_longer(self) -> None:
        now = datetime(2026, 10, 25, 8, tzinfo=UTC)
        since = parse_instant("23:00", now)
        assert parse_instant("04:00", now, since) - since == timedelta(hours=6)

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
