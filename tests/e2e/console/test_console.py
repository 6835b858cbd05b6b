"""console/: what its actions do to the deployed shop, and what its page is told of it."""

import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
import requests

from console.__main__ import serve_account
from console.shop import PATIENCE, PRODUCT, Shop
from console.stories import telling
from local.breakage import breakages
from local.factory import accept
from local.polling import eventually
from operations import status
from operations.smoke import depth
from settings import PROJECT
from tests.support.console_client import ConsoleClient, View
from tests.support.deployed_shop import SETTINGS, UNAVAILABLE, DeployedShop
from tests.support.misbehaving import reject
from tests.support.serving import serving

EVERYTHING = ("sns", "sqs", "factory_off", "database_killed")
"""Of the factory's and of the database's breakages, one is in effect at a time."""
SECONDS = 6


@pytest.fixture
def console(shop: DeployedShop) -> Iterator[ConsoleClient]:
    """Return the console of the shop, as `make up` starts it."""
    shop.cloud.start_console()
    console = ConsoleClient(urlsplit(shop.cloud.console_url).port or 0)
    yield console
    for each in breakages(shop.cloud).values():
        each.end()


def stock(view: View) -> object:
    return next((each["stock"] for each in view["products"] if each["slug"] == PRODUCT), None)


def remaining(view: View, name: str) -> float:
    """Return for how many seconds something is still broken."""
    (found,) = [each for each in view["breakages"] if each["name"] == name] or [{"remaining": -1}]
    return float(found["remaining"])


def marks(view: View, name: str) -> list[str]:
    return [mark["kind"] for mark in view["marks"] if mark["name"] == name]


def story(view: View, name: str) -> dict[str, Any]:
    (found,) = [each for each in view["stories"] if each["name"] == name]
    return dict(found)


def test_same_key_is_sold_once(console: ConsoleClient, shop: DeployedShop) -> None:
    key = str(uuid.uuid4())
    bought = [console.act("/buy", quantity=3, requester="<b>도넛</b>", key=key) for _ in range(2)]
    assert [(each["status"], each["key"]) for each in bought] == [(200, key)] * 2
    assert bought[0]["body"] == bought[1]["body"] == shop_says(7)
    assert shop.purchases() == [(3, "<b>도넛</b>")]
    view = console.shown(lambda view: stock(view) == 7)
    assert view["checkouts"][:2] == bought[::-1]


def test_key_that_http_cannot_carry_is_not_sent(console: ConsoleClient, shop: DeployedShop) -> None:
    response = console.post("/buy", quantity=1, requester="a", key="도넛")
    assert (response.status_code, response.json()["key"]) == (422, "rejected.key")
    bought = console.act("/buy", quantity=1, requester="a", key="donut")
    assert console.shown(lambda view: stock(view) == 9)["checkouts"][0] == bought
    assert shop.purchases() == [(1, "a")]


def shop_says(left: int) -> dict[str, object]:
    return {"message": f"구매 완료! 남은 재고: {left}", "purchased": True, "stock": left}


def test_responses_of_the_shop_are_shown_as_they_are(
    console: ConsoleClient, shop: DeployedShop
) -> None:
    assert console.act("/buy", quantity=0, requester="a")["status"] == 400
    assert console.act("/buy", quantity=1, requester="a", product_id="none")["status"] == 400
    ordered = console.act("/buy", quantity=11, requester="a")
    shop.wait_for(ordered["body"]["order_id"])
    console.act("/break/database_read_only")
    away = console.act("/buy", quantity=1, requester="a")
    assert (away["status"], away["body"]) == (503, UNAVAILABLE)
    assert away["milliseconds"] < 5_500


def test_rush_adds_up_with_the_purchases(console: ConsoleClient, shop: DeployedShop) -> None:
    console.act("/rush", buyers=40, at_once=10)
    view = console.shown(lambda view: view["rush"] and view["rush"]["lost"] is not None)
    rush = view["rush"]
    assert rush["sold"] + rush["out_of_stock"] == rush["buyers"] == 40
    assert (rush["failed"], rush["lost"]) == (0, 0)
    assert 0 < rush["p50"] <= rush["p99"]
    assert rush["sold"] >= 10
    purchases = shop.purchases()
    assert len(purchases) == sum(quantity for quantity, _ in purchases) == rush["sold"]
    assert len({requester for _, requester in purchases}) == 1
    assert len(shop.sql("SELECT 1 FROM production_order")) == rush["out_of_stock"]


def test_rush_waits_for_a_database_that_comes_back(
    console: ConsoleClient, shop: DeployedShop
) -> None:
    console.act("/break/database_killed", seconds=SECONDS)
    console.act("/rush", buyers=5, at_once=5)
    assert console.post("/rush", buyers=5, at_once=5).status_code == 409
    view = console.shown(lambda view: view["rush"] and view["rush"]["lost"] is not None)
    rush = view["rush"]
    assert (rush["sold"], rush["failed"], rush["lost"]) == (5, 0, 0)
    assert len(shop.purchases()) == 5


@pytest.mark.parametrize(
    "name",
    [
        "sns",
        "sqs",
        "factory_off",
        "factory_slow",
        "factory_fails",
        "factory_silent",
        "factory_twice",
        "database_killed",
        "database_read_only",
    ],
)
def test_breakage_is_shown_until_it_is_healed(console: ConsoleClient, name: str) -> None:
    console.shown(lambda view: remaining(view, name) == 0)
    console.act(f"/break/{name}")
    console.shown(
        lambda view: 100 < remaining(view, name) <= 120 and marks(view, name)[-1:] == ["broken"]
    )
    console.act(f"/heal/{name}")
    console.shown(
        lambda view: remaining(view, name) == 0 and marks(view, name)[-2:] == ["broken", "healed"]
    )


@pytest.mark.parametrize("seconds", [0, -1, 121, 1e300])
def test_nothing_is_broken_for_longer_than_two_minutes(
    console: ConsoleClient, seconds: float
) -> None:
    response = console.post("/break/sns", seconds=seconds)
    assert response.status_code == 422
    assert "120" in response.json()["message"]
    assert console.shown(lambda view: remaining(view, "sns") == 0)


def test_poison_message_ends_in_the_dead_letter_queue_and_stays_there(
    console: ConsoleClient, shop: DeployedShop
) -> None:
    sqs = shop.cloud.client("sqs")
    sqs.purge_queue(QueueUrl=shop.queue_url("stock_dlq"))
    assert console.act("/break/poison_message")["message_id"]

    def dead() -> None:
        assert depth(sqs, SETTINGS.queue_name("stock_dlq")) == 1

    eventually(dead, within=PATIENCE)
    view = console.shown(lambda view: (view["pipeline"]["dead_letters"] or {}).get("visible") == 1)
    assert marks(view, "poison_message")[-1] == "broken"
    assert console.act("/redrive") == {"moved": 0, "others": 1}
    sqs.purge_queue(QueueUrl=shop.queue_url("stock_dlq"))


def test_forged_callback_is_rejected(console: ConsoleClient, shop: DeployedShop) -> None:
    for quantity in (40, 100):  # of an unknown order, and of the newest one
        forged = console.act("/break/forged_callback")
        assert forged["status"] == 403
        assert "message" in forged["body"]
        shop.wait_for(shop.order_more(quantity))
    assert shop.stock() == 10 + 40 + 100
    assert console.shown(lambda view: marks(view, "forged_callback"))


def test_order_in_the_dead_letter_queue_is_redriven(
    console: ConsoleClient, shop: DeployedShop
) -> None:
    shop.factory.respond = reject
    order_id = shop.order_more(40)

    def place(view: View) -> object:
        return next((each["place"] for each in view["orders"] if each["order_id"] == order_id), "")

    console.shown(lambda view: place(view) == "dead_letter")
    shop.factory.respond = accept
    assert console.act("/redrive") == {"moved": 1, "others": 0}
    console.shown(lambda view: place(view) == "arrived")
    assert shop.stock() == 50
    order = requests.get(f"{console.url}/order/{order_id}", timeout=PATIENCE).json()
    assert [hop["what"] for hop in order["hops"]].count("not placed") == 5


def test_stock_is_counted_and_recorded(console: ConsoleClient, shop: DeployedShop) -> None:
    console.act("/stocktake", count=3)
    assert shop.stock() == 3
    view = console.shown(lambda view: stock(view) == 3)
    assert {row["slug"]: row["difference"] for row in view["books"]}[PRODUCT] == 0
    assert console.post("/stocktake", count=-1).status_code == 422


def test_relay_publishes_what_sns_rejected(console: ConsoleClient, shop: DeployedShop) -> None:
    console.act("/break/sns")
    order_id = shop.order_more(40)
    console.act("/heal")
    shop.sql("UPDATE production_order SET next_attempt_at = UTC_TIMESTAMP(6)")
    console.act("/relay")
    shop.wait_for(order_id)


def test_story_is_told_line_by_line_and_nothing_disturbs_it(
    console: ConsoleClient, shop: DeployedShop
) -> None:
    console.act("/story/callbacks")
    view = console.shown(lambda view: view["busy"] == "callbacks")
    bodies: dict[str, dict[str, object]] = {
        "/buy": {"quantity": 1, "requester": "a"},
        "/rush": {"buyers": 1, "at_once": 1},
        "/break/sns": {},
        "/heal": {},
        "/heal/sns": {},
        "/redrive": {},
        "/stocktake": {"count": 1},
        "/relay": {},
        "/story/the_loop": {},
    }
    for path, body in bodies.items():
        response = console.post(path, **body)
        assert (response.status_code, response.json()["key"]) == (409, "rejected.busy"), path
    view = console.shown(lambda view: story(view, "callbacks")["state"] != "running")
    told = story(view, "callbacks")
    assert told["state"] == "passed", told["reason"]
    said = [each["key"] for each in told["said"]]
    assert said[:2] == ["callbacks.title", "callbacks.expectation"]
    assert said[-1] == "books"
    assert marks(view, "factory_silent")[-2:] == ["broken", "healed"]
    assert console.shown(lambda view: view["busy"] is None)
    shop.assert_balanced()


def test_story_waits_for_the_stories_of_another_process(
    console: ConsoleClient, shop: DeployedShop
) -> None:
    with telling(Shop(shop.cloud)):
        response = console.post("/story/callbacks")
        assert (response.status_code, response.json()["key"]) == (409, "rejected.story_elsewhere")
        assert console.act("/buy", quantity=1, requester="a")["status"] == 200
    console.act("/story/callbacks")
    view = console.shown(lambda view: story(view, "callbacks")["state"] not in ("never", "running"))
    assert story(view, "callbacks")["state"] == "passed"


def test_story_that_fails_says_why(console: ConsoleClient, shop: DeployedShop) -> None:
    shop.sql("UPDATE product SET stock = stock + 1")
    console.act("/story/the_loop")
    view = console.shown(lambda view: story(view, "the_loop")["state"] not in ("never", "running"))
    told = story(view, "the_loop")
    assert told["state"] == "failed"
    assert "the books do not balance" in told["reason"]
    assert view["busy"] is None


def test_losses_of_the_original_are_counted_while_it_sells(console: ConsoleClient) -> None:
    console.act("/story/the_original")
    view = console.shown(
        lambda view: story(view, "the_original")["state"] not in ("never", "running")
    )
    told = story(view, "the_original")
    assert told["state"] == "passed", told["reason"]
    counted = [each["values"] for each in told["said"] if each["key"] == "the_original.counted"]
    assert 5 <= len(counted) <= 10
    for before, after in pairwise(counted):
        assert before["sold"] < after["sold"]
        assert after["lost"] == after["sold"] - after["fell"] >= before["lost"]


def test_everything_heals_when_the_console_is_killed(
    console: ConsoleClient, shop: DeployedShop
) -> None:
    for name in EVERYTHING:
        console.act(f"/break/{name}", seconds=SECONDS)
    known = breakages(shop.cloud)
    for name in EVERYTHING:
        assert 0 < known[name].remaining() <= SECONDS, name
    process = shop.cloud.console.process
    assert process
    process.kill()
    process.wait(timeout=10)
    assert shop.checkout(1).json() == UNAVAILABLE

    def healed() -> None:
        for name in EVERYTHING:
            assert known[name].remaining() == 0, name
        assert shop.checkout(1).status_code == 200

    eventually(healed, within=PATIENCE)
    shop.wait_for(shop.order_more(40))
    assert shop.stock() == 49
    shop.assert_balanced()


def test_unknown_names_are_not_found(console: ConsoleClient) -> None:
    for path in ("/break/nothing", "/heal/nothing", "/heal/poison_message", "/story/nothing"):
        response = console.post(path)
        assert (response.status_code, response.json()["key"]) == (404, "rejected.unknown"), path


@pytest.mark.parametrize(
    "body",
    [{"buyers": 0, "at_once": 1}, {"buyers": 1001, "at_once": 1}, {"buyers": 1, "at_once": 101}],
)
def test_rush_has_limits(body: dict[str, int], console: ConsoleClient) -> None:
    assert console.post("/rush", **body).json()["key"] == "rejected.range"


def test_console_works_after_a_reset(console: ConsoleClient, shop: DeployedShop) -> None:
    console.act("/buy", quantity=3, requester="a")
    shop.cloud.reset()
    assert console.act("/buy", quantity=1, requester="a")["body"] == shop_says(9)
    view = console.shown(lambda view: stock(view) == 9)
    assert view["checkouts"][0]["body"] == shop_says(9)


def test_key_from_before_a_reset_is_no_violation(
    console: ConsoleClient, shop: DeployedShop
) -> None:
    console.act("/buy", quantity=3, requester="a", key="again")
    console.shown(lambda view: stock(view) == 7)
    shop.cloud.reset()
    console.act("/buy", quantity=1, requester="a")
    assert console.act("/buy", quantity=3, requester="a", key="again")["body"] == shop_says(6)

    def holds(view: View) -> object:
        (check,) = (each for each in view["checks"] if each["name"] == "key_sold_once")
        return check["holds"] and not check["violations"] and stock(view) == 6

    console.shown(holds)


# --- make console ---


def command(shop: DeployedShop) -> list[str]:
    """Return the command of `make console`."""
    return [sys.executable, "-m", "local", f"--directory={shop.cloud.directory}", "console"]


def test_command_says_where_the_running_console_is(
    console: ConsoleClient, shop: DeployedShop
) -> None:
    done = subprocess.run(
        command(shop), cwd=PROJECT, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"The console is at {console.url}/\n"


def test_command_serves_the_console_until_it_is_interrupted(shop: DeployedShop) -> None:
    shop.cloud.stop_console()
    with subprocess.Popen(command(shop), cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", process.stdout.readline())
        assert found
        client = ConsoleClient(int(found[1]))
        assert client.act("/buy", quantity=1, requester="a")["status"] == 200
        client.act("/story/sns_outage")
        client.shown(lambda view: view["busy"] == "sns_outage")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=10) == 0, "a story that runs does not keep it from ending"
    for each in breakages(shop.cloud).values():
        each.end()


# --- an account ---


@pytest.fixture
def account(shop: DeployedShop, monkeypatch: pytest.MonkeyPatch) -> Iterator[ConsoleClient]:
    """Return the console of the shop as if it were in an account."""
    for name, value in shop.cloud.variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    # The URL in the stack's outputs needs AWS's domain name service.
    monkeypatch.setattr(status, "api_url", lambda stack: f"{shop.cloud.endpoint}/")
    server = serve_account("local", port=0)
    with serving(server):
        yield ConsoleClient(server.server_port)


def test_account_can_be_looked_at_bought_from_and_redriven(
    account: ConsoleClient, shop: DeployedShop
) -> None:
    shop.cloud.client("sqs").purge_queue(QueueUrl=shop.queue_url("stock_dlq"))
    assert account.act("/buy", quantity=1, requester="a")["body"] == shop_says(9)
    assert account.act("/redrive") == {"moved": 0, "others": 0}
    view = account.shown(lambda view: stock(view) == 9 and view["pipeline"]["queue"])
    assert (view["can_break"], view["breakages"], view["stories"]) == (False, [], [])
    assert account.post("/break/sns").json()["key"] == "rejected.not_offered"
