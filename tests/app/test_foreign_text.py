"""Text from elsewhere becomes printable and bounded."""

import pytest

from flask_hazelcast_failover._foreign_text import MAX_MESSAGE, MAX_NAME, is_name, printable, quoted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("blue", "blue"),
        ("grün 🟢", "grün 🟢"),
        ("a\nb", "a\\nb"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\u202egnp", "\\u202egnp"),
        ("\ud800", "\\ud800"),
        ("\u2028", "\\u2028"),
    ],
)
def test_what_is_not_printable_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    printable(text).encode()


@pytest.mark.parametrize("text", ["x" * 10**6, "\n" * 10**6, "\n" * MAX_MESSAGE])
def test_a_long_text_is_cut(text: str) -> None:
    assert len(printable(text)) <= MAX_MESSAGE
    assert printable(text).endswith("…")


@pytest.mark.parametrize("name", ["blue", "eu west", "grün", "x" * MAX_NAME])
def test_names_are_printable_strings(name: str) -> None:
    assert is_name(name)


@pytest.mark.parametrize("name", ["", "x" * (MAX_NAME + 1), "a\nb", "\ud800", "\x1b[0m", b"blue", 7, None])
def test_what_is_not_a_name(name: object) -> None:
    assert not is_name(name)


def test_a_quoted_value_is_cut_and_says_how_long_it_was() -> None:
    assert quoted("blue") == "'blue'"
    assert quoted("x" * 10**7) == f"'{'x' * 100}'… (10,000,000 characters)"
