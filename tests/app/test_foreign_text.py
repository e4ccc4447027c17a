"""Text from elsewhere becomes printable and bounded."""

import pytest

from flask_hazelcast_failover._foreign_text import MAX_MESSAGE, MAX_NAME, is_name, listed, printable, quoted


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


def test_of_many_texts_ten_are_listed() -> None:
    assert listed([]) == ""
    assert listed(["a", "b"]) == "a, b"
    assert listed([str(n) for n in range(10)], "; ") == "; ".join(map(str, range(10)))
    assert listed(["a"] * 1510).endswith("a, a, and 1,500 more")


@pytest.mark.parametrize("count", [1, 2, 10, 11, 5000])
@pytest.mark.parametrize("text", ["x" * 5000, "\x1b[31m\n" * 100, "\u202e" * 3000, ""])
@pytest.mark.parametrize("limit", [300, MAX_MESSAGE])
def test_a_list_is_one_line_and_its_texts_share_the_limit(text: str, count: int, limit: int) -> None:
    found = listed([f"{number}={text}" for number in range(count)], "; ", limit=limit)
    assert len(found) <= limit and found.isprintable()
    assert all(f"{number}=" in found for number in range(min(count, 10)))
    assert count <= 10 or found.endswith(f"; and {count - 10:,} more")
