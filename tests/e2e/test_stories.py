"""The stories of the console pass in the deployed shop, and fail if the books do not balance."""

import pytest

from console.shop import Shop
from console.stories import STORIES, tell
from console.texts import TEXTS
from tests.support.accidents import executed
from tests.support.deployed_shop import DeployedShop


@pytest.mark.parametrize("name", STORIES)
def test_story_passes(shop: DeployedShop, name: str) -> None:
    said: list[str] = []

    def say(key: str, /, **values: object) -> None:
        said.append(key)
        for language, texts in TEXTS.items():
            assert texts[key].format(**values), language

    tell(name, Shop(shop.cloud), say)
    assert said[:2] == [f"{name}.title", f"{name}.expectation"]
    assert said[-1] == "books"
    shop.assert_balanced()


def demo(shop: DeployedShop, command: str) -> tuple[int, str]:
    """Run `make demo`, and return its exit status and what it prints."""
    done = executed(shop, command)
    return done.returncode, done.stdout + done.stderr


def test_demo_fails_until_the_books_balance(shop: DeployedShop) -> None:
    shop.sql("UPDATE product SET stock = stock + 1")
    status, printed = demo(shop, "ONLY=the_loop make demo")
    assert status != 0
    assert "the books do not balance" in printed
    shop.clear(stock=10)
    status, printed = demo(shop, "ONLY=the_loop LANGUAGE=en make demo")
    assert status == 0, printed
    assert "and the books balance." in printed
