"""The console's texts repeat numbers of the shop. They are those of the code."""

import math

import pytest

from common import deadline
from console import stories
from console.texts import ENGLISH, KOREAN
from local.expiry import LONGEST
from operations.status import BACK_MINUTES
from settings import ENVIRONMENTS
from stacks.messaging_stack import MAX_RECEIVES

SECONDS = math.ceil(deadline.FIRST_ATTEMPT + deadline.SECOND_ATTEMPT)
"""Within which a response comes, by the contract."""
NUMBERS = {2: ("두", "two"), 3: ("세", "three"), 5: ("다섯", "five")}
"""The numbers that are written as words."""


def written(number: float) -> tuple[str, str]:
    """Return the number as a Korean and as an English word."""
    return NUMBERS[round(number)]


RECEIVES, REMINDERS = written(MAX_RECEIVES), written(ENVIRONMENTS["local"].max_reminders)
MINUTES = round(LONGEST / 60)
REPEATED = [
    ("page.dead_letter.hint", f"{RECEIVES[0]} 번", f"{RECEIVES[1]} times"),
    ("page.break.hint", f"{MINUTES}분", f"{written(MINUTES)[1]} minutes"),
    ("page.throttled", f"{BACK_MINUTES}분", f"{BACK_MINUTES} minutes"),
    ("page.breakage.factory_off.expect", f"{RECEIVES[0]} 번", f"{RECEIVES[1]} failures"),
    ("page.breakage.factory_fails.expect", f"{RECEIVES[0]} 번", f"{RECEIVES[1]} failures"),
    ("page.breakage.factory_silent.expect", f"{REMINDERS[0]} 번", f"{REMINDERS[1]} times"),
    ("page.breakage.database_killed.expect", f"{SECONDS}초", f"{SECONDS} seconds"),
    ("page.breakage.poison_message.expect", f"{RECEIVES[0]} 번", f"{RECEIVES[1]} failures"),
]


@pytest.mark.parametrize(("key", "korean", "english"), REPEATED)
def test_number_is_that_of_the_shop(key: str, korean: str, english: str) -> None:
    assert korean in KOREAN[key]
    assert english in ENGLISH[key].lower()


def test_story_counts_as_many_receives_as_the_queue_allows() -> None:
    assert stories.RECEIVES == MAX_RECEIVES
