"""console/actions.py and console/rush.py, without a shop: what is rejected, counted and reported."""

import threading
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest

from console import actions as console_actions
from console import rush as console_rush
from console import view
from console.actions import Actions, LocalActions, Rejected
from console.live import Live
from console.routes import ACTIONS
from console.rush import Rush, is_final, percentile
from console.shop import PATIENCE, Checkout
from console.texts import KOREAN
from local.cloud import Cloud
from local.polling import eventually
from operations.smoke import ShopApi
from settings import ENVIRONMENTS, LAMBDAS
from tests.support.fake_console import FakeReports

WITHIN = 10
SOLD = Checkout(200, {"purchased": True, "stock": 1}, 0.01)
OUT_OF_STOCK = Checkout(200, {"purchased": False, "stock": 0, "order_id": "a"}, 0.01)
UNAVAILABLE = Checkout(503, {"message": "데이터베이스 연결 오류"}, 0.01)


@dataclass
class FakeApi:
    """Stands in for ShopApi: it responds with these responses in turn, the last one for ever.

    A response may be an exception, which is raised.
    """

    responses: list[Any]
    calls: list[tuple[Any, ...]] = field(default_factory=list)
    url: str = ""

    def call(self, *arguments: Any) -> Any:
        self.calls.append(arguments)
        response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        if isinstance(response, Exception):
            raise response
        return response


def actions_on(environment: str, *responses: Any) -> tuple[Actions, FakeReports, FakeApi]:
    """Return the actions of an environment, with what they report and the API that they use."""
    live, api = FakeReports(), FakeApi(list(responses))
    actions = Actions(
        cast(Live, live),
        ENVIRONMENTS[environment],
        api=lambda: cast(ShopApi, api),
        sqs=lambda: pytest.fail("SQS is used"),
    )
    return actions, live, api


# --- an account ---

VALUES: dict[str, dict[str, Any]] = {
    "buy": {"quantity": 1, "requester": "a"},
    "rush": {"buyers": 1, "at_once": 1},
    "break_down": {"name": "sns"},
    "heal": {"name": "sns"},
    "tell_story": {"name": "the_loop"},
    "count_stock": {"count": 1},
}
ON_AN_ACCOUNT = {"buy", "rush", "redrive"}


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_account_can_neither_be_broken_nor_corrected(environment: str) -> None:
    actions, live, api = actions_on(environment, (200, {}))
    for method in {action.method for action in ACTIONS.values()} - ON_AN_ACCOUNT:
        with pytest.raises(Rejected) as rejected:
            getattr(actions, method)(**VALUES.get(method, {}))
        assert rejected.value.values == {"environment": environment}, method
    assert (live.reports, api.calls) == ([], [])


def test_prod_may_only_be_looked_at() -> None:
    actions, live, api = actions_on("prod", (200, {}))
    for method in ON_AN_ACCOUNT:
        with pytest.raises(Rejected) as rejected:
            getattr(actions, method)(**VALUES.get(method, {}))
        assert rejected.value.status == 409, method
    assert (live.reports, api.calls) == ([], [])


def test_checkout_on_an_account_is_sent_and_reported() -> None:
    body = {"purchased": True, "stock": 8}
    actions, live, api = actions_on("dev", (200, body))
    checkout = actions.buy(2, "도넛", "key", "product")
    assert (checkout.status, checkout.body, checkout.key) == (200, body, "key")
    assert live.reports == [("checked_out", checkout), ("soon",)]
    ((method, path, sent, headers),) = api.calls
    assert (method, path, headers["Idempotency-Key"]) == ("POST", "/checkout", "key")
    assert sent == {
        "MessageAttributeProductCnt": 2,
        "requester": "도넛",
        "MessageAttributeProductId": "product",
    }
    actions.buy(1, "a")
    *_, sent, headers = api.calls[-1]
    assert sent == {"MessageAttributeProductCnt": 1, "requester": "a"}
    assert "Idempotency-Key" not in headers


@pytest.mark.parametrize("error", [TimeoutError("timed out"), ValueError("not JSON")])
def test_missing_response_is_reported_as_status_0(error: Exception) -> None:
    actions, live, _ = actions_on("dev", error)
    checkout = actions.buy(1, "a")
    assert (checkout.status, checkout.body) == (0, {"message": str(error)})
    assert live.reports[0] == ("checked_out", checkout)


@pytest.mark.parametrize("key", ["도넛", "é", "a\nb", "a\x7f", "a" * 256])
def test_key_that_the_shop_would_not_take_is_rejected_before_anything_is_sent(key: str) -> None:
    actions, live, api = actions_on("dev", (200, SOLD.body))
    with pytest.raises(Rejected) as rejected:
        actions.buy(1, "a", key)
    assert (rejected.value.key, rejected.value.status) == ("rejected.key", 422)
    assert (live.reports, api.calls) == ([], [])
    for printable in ("a" * 255, " ~", ""):
        assert actions.buy(1, "a", printable).status == 200, printable


def test_key_is_rejected_in_the_words_of_the_shop() -> None:
    sales = (LAMBDAS / "sales/handler.py").read_text()
    assert "출력 가능한 ASCII 문자여야 합니다" in sales
    assert "출력 가능한 ASCII 문자여야 합니다" in KOREAN["rejected.key"]


def test_rush_on_an_account_does_not_know_the_purchases() -> None:
    actions, live, _ = actions_on("dev", (200, SOLD.body))
    actions.rush(5, 2)
    eventually(lambda: live._require("busy", None), within=WITHIN)
    last = [report[1] for report in live.reports if report[0] == "rush"][-1]
    assert (last.sold, last.lost) == (5, None)
    assert ("busy", "rush") in live.reports


# --- one thing at a time ---


@dataclass
class FakeShop:
    """Stands in for the shop of these actions, in which a story can be told, or not."""

    actions: LocalActions
    has_own_factory: bool = True

    @property
    def cloud(self) -> Cloud:
        return self.actions._cloud

    def has_local_factory(self) -> bool:
        return self.has_own_factory


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Let each story wait for an event, instead of being told."""
    event = threading.Event()
    monkeypatch.setattr(LocalActions, "_shop", lambda self: FakeShop(self))
    monkeypatch.setattr(console_actions, "tell", lambda name, shop, say: event.wait(WITHIN))
    return event


def local_actions(tmp_path: Any) -> tuple[LocalActions, FakeReports]:
    live = FakeReports()
    return LocalActions(cast(Live, live), Cloud(tmp_path)), live


def test_nothing_disturbs_a_story(held: threading.Event, tmp_path: Any) -> None:
    actions, live = local_actions(tmp_path)
    actions.tell_story("the_loop")
    for method in sorted({action.method for action in ACTIONS.values()}):
        with pytest.raises(Rejected) as rejected:
            getattr(actions, method)(**VALUES.get(method, {}))
        assert rejected.value.values == {"name": "the_loop"}, method
    held.set()
    eventually(lambda: live._require("busy", None), within=WITHIN)
    actions.tell_story("last_donut")


def test_story_of_another_process_keeps_stories_away(held: threading.Event, tmp_path: Any) -> None:
    """It is not under way here, so that everything else can be done."""
    (actions, live), (elsewhere, _) = local_actions(tmp_path), local_actions(tmp_path)
    elsewhere.tell_story("the_loop")
    with pytest.raises(Rejected) as rejected:
        actions.tell_story("the_loop")
    assert (rejected.value.key, rejected.value.status) == ("rejected.story_elsewhere", 409)
    assert live.reports == []
    with actions._acts("heal"):
        held.set()
    eventually(lambda: _can_tell(actions), within=WITHIN)


def _can_tell(actions: LocalActions) -> None:
    """Tell a story, which the lock of another one forbids for a moment."""
    try:
        actions.tell_story("the_loop")
    except Rejected as rejected:
        raise AssertionError from rejected


def test_story_is_rejected_if_the_factory_is_not_the_local_one(
    held: threading.Event, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions, live = local_actions(tmp_path)
    shop = FakeShop(actions, has_own_factory=False)
    monkeypatch.setattr(LocalActions, "_shop", lambda self: shop)
    with pytest.raises(Rejected) as rejected:
        actions.tell_story("the_loop")
    assert (rejected.value.key, rejected.value.status) == ("rejected.other_factory", 409)
    assert live.reports == []
    shop.has_own_factory = True
    held.set()
    actions.tell_story("the_loop")


def test_story_does_not_begin_while_something_else_is_under_way(
    held: threading.Event, tmp_path: Any
) -> None:
    actions, live = local_actions(tmp_path)
    with actions._acts("redrive"), pytest.raises(Rejected) as rejected:
        actions.tell_story("the_loop")
    assert rejected.value.values == {"name": "redrive"}
    assert live.reports == []
    actions._start("rush", lambda: cast(None, held.wait(WITHIN)))
    with pytest.raises(Rejected):
        actions.tell_story("the_loop")
    with actions._acts("break"):  # a rush goes on while something is broken
        held.set()


def test_action_that_fails_keeps_nothing_waiting(tmp_path: Any) -> None:
    actions, live = local_actions(tmp_path)
    with pytest.raises(OSError, match="away"), actions._acts("heal"):
        raise OSError("away")
    actions._start("the_loop", lambda: cast(None, 1 / 1))
    eventually(lambda: live._require("busy", None), within=WITHIN)


def test_story_that_fails_is_reported_with_its_reason(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tell(name: str, shop: object, say: Callable[..., None]) -> None:
        say(f"{name}.title")
        say(f"{name}.counted", stock=3)
        raise KeyError

    monkeypatch.setattr(LocalActions, "_shop", lambda self: FakeShop(self))
    monkeypatch.setattr(console_actions, "tell", tell)
    actions, live = local_actions(tmp_path)
    actions.tell_story("the_loop")
    eventually(lambda: live._require("busy", None), within=WITHIN)
    runs = [report[1] for report in live.reports if report[0] == "story"]
    assert [(run.state, len(run.said)) for run in runs] == [
        ("running", 0),
        ("running", 1),
        ("running", 2),
        ("failed", 2),
    ]
    assert runs[-1].reason == "KeyError"
    assert runs[-1].said[1] == view.Said(key="the_loop.counted", values={"stock": 3})


# --- a rush ---


@dataclass
class Customers:
    """Answers each customer's requests in turn. After the last answer, it is repeated."""

    answers: list[Checkout | None]
    seen: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def buy(self, key: str) -> Checkout | None:
        with self.lock:
            number = self.seen[key]
            self.seen[key] += 1
        return self.answers[min(number, len(self.answers) - 1)]


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_rush, "PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(console_rush, "PATIENCE", 0.1)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize(
    ("answers", "requests", "counted"),
    [
        ([SOLD], 1, "sold"),
        ([OUT_OF_STOCK], 1, "out_of_stock"),
        ([UNAVAILABLE, None, SOLD], 3, "sold"),
        ([None, OUT_OF_STOCK], 2, "out_of_stock"),
        ([Checkout(429, {}, 0.01), SOLD], 2, "sold"),
        ([Checkout(400, {}, 0.01)], 1, "failed"),
        ([Checkout(422, {}, 0.01)], 1, "failed"),
    ],
)
def test_customer_repeats_the_key_until_the_shop_decides(
    answers: list[Checkout | None], requests: int, counted: str
) -> None:
    customers, reports = Customers(answers), list[view.Rush]()
    rush = Rush(customers.buy, buyers=7, at_once=3, report=reports.append).run()
    assert Counter(customers.seen.values()) == {requests: 7}
    assert getattr(rush, counted) == 7
    assert reports[-1] == rush
    totals = [each.sold + each.out_of_stock + each.failed for each in reports]
    assert totals == list(range(8)), "each customer is reported"
    assert (rush.p50 is None) == (counted == "failed")


def test_customer_without_a_decision_fails_after_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock moves each time when it is looked at, so that a busy machine changes nothing."""
    seconds = count(step=PATIENCE / 20)
    clock = SimpleNamespace(monotonic=lambda: next(seconds), sleep=lambda pause: None)
    monkeypatch.setattr(console_rush, "time", clock)
    customers = Customers([UNAVAILABLE])
    rush = Rush(customers.buy, buyers=6, at_once=2, report=lambda rush: None).run()
    assert (rush.failed, rush.sold, rush.p99) == (6, 0, None)
    counts = sorted(customers.seen.values())
    assert counts[:4] == [1, 1, 1, 1], "whoever comes late tries once"
    assert counts[-1] > 1, "whoever comes early tries again"


def test_only_so_many_customers_buy_at_once() -> None:
    buying, most = threading.Semaphore(0), list[int]()
    inside, lock = set[str](), threading.Lock()

    def buy(key: str) -> Checkout:
        with lock:
            inside.add(key)
            most.append(len(inside))
            if len(inside) == 4:
                for _ in range(40):
                    buying.release()
        buying.acquire(timeout=WITHIN)
        with lock:
            inside.remove(key)
        return SOLD

    rush = Rush(buy, buyers=20, at_once=4, report=lambda rush: None).run()
    assert max(most) == 4
    assert rush.sold == 20


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([5.0], 50, 5.0),
        ([5.0], 99, 5.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0, 3.0], 50, 2.0),
        ([float(n) for n in range(1, 101)], 99, 99.0),
        ([float(n) for n in range(1, 201)], 99, 198.0),
    ],
)
def test_percentile(values: list[float], percent: float, expected: float) -> None:
    assert percentile(values, percent) == expected


def test_rejections_are_final_unless_the_shop_is_throttled() -> None:
    assert [status for status in (200, 400, 404, 422, 429, 500, 503) if is_final(status)] == [
        400,
        404,
        422,
    ]
