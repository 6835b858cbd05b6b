"""Which values can be an identifier at all."""

import pytest

from common import limits


@pytest.mark.parametrize("text", ["a", "Z", "0", "-", "_", "donut", "A-b_9", "abcdefgh"])
def test_identifier_is_accepted(text: str) -> None:
    assert limits.is_identifier(text, max_length=8)


@pytest.mark.parametrize(
    "text", ["", "abcdefghi", "a b", "a ", " a", "a\n", "a.b", "a/b", "도넛", "٥", "é", "'"]
)
def test_anything_else_is_rejected(text: str) -> None:
    assert not limits.is_identifier(text, max_length=8)
