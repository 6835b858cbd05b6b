"""Which values can be an identifier, or an Idempotency-Key, at all."""

import pytest

from common import limits


@pytest.mark.parametrize("text", ["a", "Z", "0", "-", "_", "donut", "A-b_9", "abcdefgh"])
def test_text_of_allowed_characters_is_an_identifier(text: str) -> None:
    assert limits.is_identifier(text, max_length=8)


@pytest.mark.parametrize(
    "text", ["", "abcdefghi", "a b", "a ", " a", "a\n", "a.b", "a/b", "도넛", "٥", "é", "'"]
)
def test_other_text_is_not_an_identifier(text: str) -> None:
    assert not limits.is_identifier(text, max_length=8)


@pytest.mark.parametrize("text", [" ", "~", "a" * limits.IDEMPOTENCY_KEY])
def test_printable_ascii_is_an_idempotency_key(text: str) -> None:
    assert limits.is_idempotency_key(text)


@pytest.mark.parametrize(
    "text", ["", "도넛", "é", "a\nb", "a\n", "\x1f", "\x7f", "a" * (limits.IDEMPOTENCY_KEY + 1)]
)
def test_other_text_is_not_an_idempotency_key(text: str) -> None:
    assert not limits.is_idempotency_key(text)
