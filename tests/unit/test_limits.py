"""Which values can be an identifier at all."""

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
