r"""Names and command lines as text: whatever bytes they are, the text is valid and gives every byte back."""

from __future__ import annotations

import os
import re
import sqlite3

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from perftrack.figures import count
from perftrack.text import printable, storable, whole_characters

ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
# Bytes that matter here are rare among all bytes: backslashes, x, hex digits, NUL, pieces of UTF-8.
tricky = st.lists(st.sampled_from([b"\\", b"x", b"5c", b"f", b"0", b"\0", b"\xff", b"\xc3", b"\xa9"])).map(b"".join)


def original_bytes(text: str) -> bytes:
    r"""Do what the README tells a reader to do: each \xHH is that byte, the rest is UTF-8."""
    raw = b""
    for position, part in enumerate(ESCAPE.split(text)):
        raw += bytes([int(part, 16)]) if position % 2 else part.encode()
    return raw


@given(st.binary() | tricky)
@example(b"\\xff")
@example(b"\\\xff")
@example(b"\\x5cxff")
@example(b"\\x\xff\\xf\0f")
@example(b"\xed\xa0\x80")  # a surrogate, which UTF-8 does not allow
@example(b"\xe2\x82")  # a character cut in two
def test_every_byte_can_be_read_back(raw: bytes) -> None:
    assert original_bytes(storable(raw)) == raw


@given(st.binary() | tricky)
def test_a_string_of_psutils_gives_the_same_text_as_its_bytes(raw: bytes) -> None:
    assert storable(os.fsdecode(raw)) == storable(raw)


@given(st.binary() | tricky, st.binary() | tricky)
def test_different_bytes_never_look_the_same(one: bytes, other: bytes) -> None:
    assert (storable(one) == storable(other)) == (one == other)


@given(st.text(st.characters(exclude_characters="\\\0", exclude_categories=["Cs"])))
@example("ünï 日本 🐍")
@example("line\nbreak, \"quotes\", 'tab'\t and \x1b[31m")
def test_valid_text_stays_as_it_is(text: str) -> None:
    assert storable(text.encode()) == text
    assert storable(text) == text


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"", ""),
        (b"a\0b", "a\\x00b"),
        (b"caf\xe9", "caf\\xe9"),
        (b"C:\\java\\bin", "C:\\java\\bin"),
        (b"C:\\xampp", "C:\\xampp"),
        (b"\\x\\xf\\xFF", "\\x\\xf\\xFF"),
        (b"\\xff", "\\x5cxff"),
    ],
)
def test_only_what_would_be_lost_or_misread_is_escaped(raw: bytes, text: str) -> None:
    assert storable(raw) == text


@given(st.binary() | tricky | st.text(st.characters()))
@example("\ud800 alone")  # Windows lets a program have such a name
def test_sqlite_gives_back_the_text_that_it_was_given(raw: bytes | str) -> None:
    text = storable(raw)
    connection = sqlite3.connect(":memory:")
    assert connection.execute("SELECT ?, length(?) = ?", (text, text, len(text))).fetchone() == (text, 1)
    connection.close()


@given(st.binary() | tricky, st.integers(4, 20))
def test_whole_characters_are_a_beginning(raw: bytes, most: int) -> None:
    kept = whole_characters(raw, most)
    assert raw.startswith(kept)
    assert kept == raw if len(raw) <= most else most - 3 <= len(kept) <= most


@given(st.text("aé日🐍", min_size=20), st.integers(4, 20))
def test_whole_characters_are_never_cut(text: str, most: int) -> None:
    assert text.startswith(whole_characters(text.encode(), most).decode())


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [/red] <b> =1+1 naïve 日本 😀", "plain [/red] <b> =1+1 naïve 日本 😀"),
        ("a\x1b[2Jb\nc\td", r"a\x1b[2Jb\nc\td"),
        ("txt.\u202eexe\u200b\u2066", r"txt.\u202eexe\u200b\u2066"),
        ("\x9b31m\u2028\U000e0041", r"\x9b31m\u2028\U000e0041"),
    ],
)
def test_printable_text_has_nothing_that_acts_on_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert shown.isprintable()


@pytest.mark.parametrize(
    ("amount", "noun", "shown"),
    [
        (1, "sample", "1 sample"),
        (0, "sample", "0 samples"),
        (1440, "sample", "1,440 samples"),
        (2, "process", "2 processes"),
        (1, "process row", "1 process row"),
        (44, "process entry", "44 process entries"),
        (2, "day", "2 days"),
        (3, "further stretch", "3 further stretches"),
    ],
)
def test_a_count_is_written_as_one_or_as_many(amount: int, noun: str, shown: str) -> None:
    assert count(amount, noun) == shown
