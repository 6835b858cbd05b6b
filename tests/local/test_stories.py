"""console/: what the stories say, and what `make demo` does when one of them fails."""

import ast
import os
import re
import subprocess
import sys
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest

from console import demo, stories
from console.demo import Narrator, tell_all
from console.shop import Checkout, Shop
from console.stories import STORIES
from console.texts import ENGLISH, KOREAN, language
from local.breakage import FactoryFailure
from local.factory import BREAKAGE_PATH, PATH, Factory
from settings import LAMBDAS, PROJECT
from tests.support.serving import QuietHandler, serving

SOURCE = (PROJECT / "console/stories.py").read_text()
FUNCTIONS = {
    node.name: node for node in ast.parse(SOURCE).body if isinstance(node, ast.FunctionDef)
}
HANGUL = re.compile("[가-힣]")
BALANCED = {"slug": "donut", "entries": 10, "purchases": 3, "arrivals": 2, "stock": 9}


def values(text: str) -> set[str]:
    """Return the names in braces."""
    return set(re.findall(r"{(\w+)}", text))


def test_languages_have_the_same_texts() -> None:
    assert KOREAN.keys() == ENGLISH.keys()
    for key, text in KOREAN.items():
        assert values(text) == values(ENGLISH[key]), key


def test_each_text_is_in_its_language() -> None:
    for key, text in KOREAN.items():
        assert HANGUL.search(text), key
        assert not HANGUL.search(ENGLISH[key]), key


@pytest.mark.parametrize("name", STORIES)
def test_story_says_each_of_its_texts_with_its_values(name: str) -> None:
    said = {
        f"{name}.{ast.literal_eval(call.args[0])}": {keyword.arg for keyword in call.keywords}
        for call in ast.walk(FUNCTIONS[name])
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "say"
        if isinstance(call.args[0], ast.Constant)
    }
    texts = {key: values(text) for key, text in KOREAN.items() if key.startswith(f"{name}.")}
    assert texts.pop(f"{name}.title") == set()
    assert texts.pop(f"{name}.expectation") == set()
    assert texts == said


def test_stories_wait_for_conditions_only() -> None:
    assert "sleep" not in SOURCE


@pytest.mark.parametrize(
    ("preferred", "expected"),
    [
        ("", "ko"),
        ("ko", "ko"),
        ("ko_KR.UTF-8", "ko"),
        ("fr", "ko"),
        ("en", "en"),
        ("en_US:en", "en"),
    ],
)
def test_stories_are_korean_unless_english_is_preferred(preferred: str, expected: str) -> None:
    assert language(preferred) == expected


class FakeShop:
    """A shop that nothing has broken, with these books."""

    def __init__(self, *books: dict[str, Any]) -> None:
        self.books = lambda: books

    def heal(self) -> None:
        """Do nothing."""


class WrongShop:
    """A shop whose methods return this in turn. Every other method does nothing.

    cloud: with an empty endpoint.
    """

    cloud = SimpleNamespace(endpoint="")

    def __init__(self, **returned: list[Any]) -> None:
        self.returned = {name: iter(values) for name, values in returned.items()}

    def __getattr__(self, name: str) -> Any:
        return MagicMock(side_effect=self.returned.get(name))


PLACED = {"payload": {"CallbackUrl": "/product/donut?order=a&token=b"}}
OUT_OF_STOCK = Checkout(200, {"purchased": False, "message": "m", "order_id": "a"}, 0.1)
UNAVAILABLE = Checkout(503, {"message": "m"}, 0.1)
SOLD = Checkout(200, {"purchased": True, "message": "m", "stock": 1}, 0.1)
WRONG: dict[str, tuple[str, dict[str, list[Any]], list[str]]] = {
    "sold twice": ("last_donut", {"rush": [[SOLD, SOLD]]}, ["counted", "looked"]),
    "placed too often": (
        "factory_outage",
        {"dead_letters": [0, 1, 1], "placed": [[PLACED] * 6], "status": ["published"]},
        ["ordered"],
    ),
    "503": ("sns_outage", {"buy": [UNAVAILABLE]}, []),
    "published": ("sns_outage", {"buy": [OUT_OF_STOCK], "status": ["published"]}, ["answered"]),
    "a forged callback is taken": (
        "callbacks",
        {"placed": [[PLACED]], "call_back": [403, 200]},
        ["placed", "forged"],
    ),
    "the callback adds twice": (
        "callbacks",
        {"placed": [[PLACED]], "call_back": [403, 403, 403, 200, 200], "stock": [10, 110]},
        ["placed", "forged", "forged", "forged"],
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_story_does_not_say_what_it_finds_wrong(case: str) -> None:
    name, returned, expected = WRONG[case]
    said: list[str] = []

    def say(key: str, /, **values: object) -> None:
        said.append(key)

    with pytest.raises(AssertionError):
        STORIES[name](WrongShop(**returned), say)  # type: ignore[arg-type]
    assert said == expected


def test_books_are_not_said_to_balance_if_they_do_not() -> None:
    said: list[str] = []

    def say(key: str, /, **values: object) -> None:
        said.append(key)

    shop = FakeShop(BALANCED, BALANCED | {"stock": 8})
    with pytest.raises(AssertionError):
        stories.compare_books(shop, say)  # type: ignore[arg-type]
    assert said == ["books"]


def tell(shop: FakeShop) -> list[str]:
    """Tell the first two stories in English, and return the names of those that failed."""
    return tell_all(["the_loop", "last_donut"], shop, Narrator("en"))  # type: ignore[arg-type]  # a stand-in for the shop


@pytest.fixture
def _true_stories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing happen in the stories."""
    for name in STORIES:
        monkeypatch.setitem(stories.STORIES, name, lambda shop, say: None)


@pytest.mark.usefixtures("_true_stories")
def test_story_begins_with_what_is_expected_and_ends_with_the_books(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert tell(FakeShop(BALANCED)) == []
    title, expectation, books, passed = capsys.readouterr().out.split("\n\n")[0].strip().split("\n")
    assert title == ENGLISH["the_loop.title"]
    assert expectation.strip() == f"Expected: {ENGLISH['the_loop.expectation']}"
    assert books.strip() == "Books of donut: entries 10 - purchases 3 + arrivals 2 = stock 9"
    assert passed.strip().startswith("Passed")


@pytest.mark.usefixtures("_true_stories")
@pytest.mark.parametrize(
    ("books", "reason"),
    [
        ([BALANCED, BALANCED | {"slug": "bagel", "stock": 8}], "bagel should have 9, and has 8"),
        ([BALANCED | {"entries": 0, "stock": -1}], "donut has a negative stock"),
    ],
)
def test_story_fails_unless_the_books_balance(
    books: list[dict[str, Any]], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tell(FakeShop(*books)) == ["the_loop", "last_donut"]
    assert reason in capsys.readouterr().out


@pytest.mark.usefixtures("_true_stories")
def test_other_stories_are_told_although_one_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(shop: object, say: object) -> None:
        raise OSError("nobody listens")

    monkeypatch.setitem(stories.STORIES, "the_loop", fail)
    assert tell(FakeShop(BALANCED)) == ["the_loop"]
    printed = capsys.readouterr().out
    assert "Failed: nobody listens" in printed
    assert ENGLISH["last_donut.title"] in printed


def run(*command: str) -> tuple[int, str]:
    """Run a Python command. Return its exit status, and the line that it writes to stderr."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": str(LAMBDAS)},  # as in the Makefile
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return done.returncode, line


def test_unknown_story_is_rejected_with_those_that_exist(tmp_path: Path) -> None:
    status, line = run("-m", "console.demo", f"--directory={tmp_path}", "--only=the_lop")
    assert status == 1
    assert "'the_lop'" in line
    for name in STORIES:
        assert name in line, name


def test_no_story_is_told_without_assertions(tmp_path: Path) -> None:
    status, line = run("-O", "-m", "console.demo", f"--directory={tmp_path}")
    assert status == 1
    assert "assertions" in line


def test_demo_says_that_the_shop_is_closed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "console.demo", f"--directory={tmp_path}"]
    status, line = run("-m", "local", f"--directory={tmp_path}", "run", *command)
    assert status == 1
    assert "`make up`" in line


def test_stories_are_told_by_one_process_at_a_time(tmp_path: Path) -> None:
    shop: Any = SimpleNamespace(
        has_local_factory=lambda: True, cloud=SimpleNamespace(directory=tmp_path)
    )
    with stories.telling(shop):
        with pytest.raises(stories.CannotTell) as rejected, stories.telling(shop):
            pytest.fail("two processes tell stories")
        assert str(rejected.value) == ENGLISH["rejected.story_elsewhere"]
    with stories.telling(shop):
        """It is told again after the first one has ended."""


@pytest.mark.parametrize("reason", ["story_elsewhere", "other_factory"])
def test_demo_ends_with_a_sentence_if_no_story_can_be_told(
    reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop: Any = SimpleNamespace(
        has_local_factory=lambda: reason != "other_factory",
        cloud=SimpleNamespace(directory=tmp_path),
        heal=lambda: pytest.fail("it heals what a story of another process has broken"),
    )
    monkeypatch.setattr(demo, "Shop", lambda cloud: shop)
    monkeypatch.setattr(sys, "argv", ["demo", f"--directory={tmp_path}"])
    holder = SimpleNamespace(has_local_factory=lambda: True, cloud=shop.cloud)
    with stories.telling(holder), pytest.raises(SystemExit) as ended:  # type: ignore[arg-type]
        demo.main()
    assert ended.value.code == ENGLISH[f"rejected.{reason}"]


def shop_of(factory_url: str) -> Shop:
    """Return a shop that knows no more than how its factory is broken."""
    shop = Shop.__new__(Shop)
    shop.breakages = {"factory_off": FactoryFailure(f"{factory_url}{BREAKAGE_PATH}off")}
    return shop


def test_no_other_factory_is_taken_for_the_local_one() -> None:
    with Factory() as factory:
        assert shop_of(factory.url.removesuffix(PATH)).has_local_factory()
    assert not shop_of(factory.url.removesuffix(PATH)).has_local_factory(), "it is closed"
    other = ThreadingHTTPServer(("127.0.0.1", 0), QuietHandler)
    with serving(other):
        url = f"http://127.0.0.1:{other.server_port}"
        assert not shop_of(url).has_local_factory(), "it is another one"
