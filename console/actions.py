"""What can be done from the page: buy, break and heal, tell stories, and correct what went wrong."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from common import limits
from console import view
from console.live import Live
from console.rush import Rush
from console.shop import SETTINGS, Checkout, Shop, check_out, redrive_all
from console.stories import STORIES, CannotTell, new_requester, tell, telling
from console.texts import ENGLISH
from local.breakage import Breakage
from local.cloud import Cloud
from local.expiry import LONGEST
from local.factory import DIRECTLY
from local.polling import eventually
from local.processes import LocalError
from operations.smoke import ShopApi
from settings import Settings

MAX_BUYERS, MAX_AT_ONCE = 1000, 100
MAX_COUNT = 1_000_000
COUNT_WITHIN = 60.0
"""Seconds that the purchases of a rush can be looked for, while the database may be away."""
ONCE = ("poison_message", "forged_callback")
"""What happens once, and needs no healing."""


class Rejected(Exception):
    """The console does not do this. key: of the text that says why; values: those in the text."""

    def __init__(
        self, key: str, status: HTTPStatus = HTTPStatus.CONFLICT, **values: object
    ) -> None:
        super().__init__(ENGLISH[key].format(**values))
        self.key = key
        self.status = status
        self.values = values


class Actions:
    """What can be done in every environment: to buy and to redrive. The rest is rejected.

    Each method raises Rejected, and what the interfaces raise that it uses.

    api, sqs: return the shop's API and a client of SQS.
    """

    def __init__(
        self,
        live: Live,
        settings: Settings,
        *,
        api: Callable[[], ShopApi],
        sqs: Callable[[], Any],
    ) -> None:
        self._live = live
        self._settings = settings
        self._api = api
        self._sqs = sqs
        self._state = threading.Lock()
        self._running: str | None = None
        """The rush, or the story, that runs in a thread of its own."""
        self._acting: list[str] = []
        """The other actions that are under way."""

    def buy(
        self,
        quantity: int,
        requester: str,
        key: str | None = None,
        product_id: str | None = None,
    ) -> view.Checkout:
        """Check out, and return the response. Its status is 0 if there is none."""
        self._require_change()
        _require_sendable(key)
        with self._acts("buy"):
            api = self._api()
            at, began = _now(), time.monotonic()
            try:
                checkout = check_out(
                    api, quantity, requester=requester, key=key, product_id=product_id
                )
            except (OSError, ValueError) as error:
                checkout = Checkout(0, {"message": str(error)}, time.monotonic() - began)
            shown = view.Checkout(
                at=at,
                quantity=quantity,
                key=key,
                status=checkout.status,
                body=checkout.body,
                milliseconds=round(checkout.seconds * 1000, 1),
            )
            self._live.checked_out(shown)
            self._live.soon()
            return shown

    def rush(self, buyers: int, at_once: int) -> None:
        """Let many customers buy one piece each. The view has the numbers."""
        self._require_change()
        _require_range("buyers", buyers, 1, MAX_BUYERS)
        _require_range("at_once", at_once, 1, MAX_AT_ONCE)
        self._start("rush", lambda: self._rush(buyers, at_once))

    def redrive(self) -> Mapping[str, int]:
        """Move the orders in the dead-letter queue back to the queue."""
        self._require_change()
        with self._acts("redrive"):
            moved, others = redrive_all(self._sqs(), self._settings)
            self._live.soon()
            return {"moved": moved, "others": others}

    def break_down(self, name: str, seconds: float = LONGEST) -> Mapping[str, object]:
        raise self._not_offered()

    def heal(self, name: str) -> None:
        raise self._not_offered()

    def heal_everything(self) -> None:
        raise self._not_offered()

    def tell_story(self, name: str) -> None:
        raise self._not_offered()

    def count_stock(self, count: int) -> None:
        raise self._not_offered()

    def run_relay(self) -> None:
        raise self._not_offered()

    def _require_change(self) -> None:
        """Raise Rejected where orders are real."""
        if not self._settings.smoke_test_orders:
            raise self._not_offered()

    def _not_offered(self) -> Rejected:
        return Rejected("rejected.not_offered", environment=self._settings.name)

    def _rush(self, buyers: int, at_once: int) -> None:
        api, requester = self._api(), new_requester()

        def buy(key: str) -> Checkout | None:
            with suppress(OSError, ValueError):
                return check_out(api, 1, requester=requester, key=key)
            return None

        rush = Rush(buy, buyers=buyers, at_once=at_once, report=self._live.rush).run()
        self._live.rush(replace(rush, lost=self._lost(rush.sold, requester)))

    def _lost(self, sold: int, requester: str) -> int | None:
        """Return how many sold pieces the purchases do not show. None: it can't be known."""
        return None

    @contextmanager
    def _acts(self, name: str) -> Iterator[None]:
        """Do something in the block that would disturb a story. Raises Rejected."""
        with self._state:
            if self._running and self._running != "rush":
                raise Rejected("rejected.busy", name=self._running)
            self._acting.append(name)
        try:
            yield
        finally:
            with self._state:
                self._acting.remove(name)

    def _start(
        self,
        name: str,
        run: Callable[[], None],
        *,
        during: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """Run the rush, or a story, in a thread. Raises Rejected if something else is under way.

        during: returns what is entered before that, and left at its end.
        """
        with self._state:
            disturbing = self._running or (name != "rush" and " ".join(self._acting))
            if disturbing:
                raise Rejected("rejected.busy", name=disturbing)
            self._running = name
        entered = ExitStack()
        try:
            entered.enter_context(during())
        except BaseException as error:
            self._ended()
            if isinstance(error, CannotTell):
                raise Rejected(error.key) from None
            raise
        self._live.busy(name)

        def run_and_end() -> None:
            try:
                with entered:
                    run()
            finally:
                self._ended()
                self._live.busy(None)
                self._live.soon()

        threading.Thread(target=run_and_end, daemon=True, name=f"console {name}").start()

    def _ended(self) -> None:
        with self._state:
            self._running = None


class LocalActions(Actions):
    """What can be done in a local cloud, which is everything.

    The shop is looked up anew for each action, because `make up` may have changed its factory.
    """

    def __init__(self, live: Live, cloud: Cloud) -> None:
        super().__init__(
            live,
            SETTINGS,
            api=lambda: ShopApi(cloud.endpoint, open=DIRECTLY.open),
            sqs=lambda: cloud.client("sqs"),
        )
        self._cloud = cloud
        self._breaking = threading.Lock()
        """Only one of the breakages is started or ended at a time."""

    def break_down(self, name: str, seconds: float = LONGEST) -> Mapping[str, object]:
        """Break something for this long. Return what the shop responds, if it happens once."""
        with self._acts(name):
            shop = self._shop()
            if name in ONCE:
                return self._happen(name, shop)
            if name not in shop.breakages:
                raise Rejected("rejected.unknown", HTTPStatus.NOT_FOUND, name=name)
            _require_range("seconds", seconds, 0.1, LONGEST)
            with self._breaking, shop.marking():
                shop.breakages[name].start(seconds)
            return {}

    def heal(self, name: str) -> None:
        """End something that is broken."""
        with self._acts(f"heal {name}"):
            shop = self._shop()
            if name not in shop.breakages:
                raise Rejected("rejected.unknown", HTTPStatus.NOT_FOUND, name=name)
            with self._breaking, shop.marking():
                shop.breakages[name].end()

    def heal_everything(self) -> None:
        with self._acts("heal"):
            shop = self._shop()
            with self._breaking, shop.marking():
                for name in shop.broken_now():
                    shop.breakages[name].end()

    def tell_story(self, name: str) -> None:
        """Tell a story in a thread. The view has what it says, and how it ends."""
        if name not in STORIES:
            raise Rejected("rejected.unknown", HTTPStatus.NOT_FOUND, name=name)
        self._start(name, lambda: self._tell(name), during=lambda: telling(self._shop()))

    def count_stock(self, count: int) -> None:
        """Set the stock of the donut by a stocktake."""
        _require_range("count", count, 0, MAX_COUNT)
        with self._acts("stocktake"):
            self._shop().count_stock(count, reason="console")
            self._live.soon()

    def run_relay(self) -> None:
        """Run the relay now, instead of at the next minute."""
        with self._acts("relay"):
            self._shop().run_relay()
            self._live.soon()

    def _shop(self) -> "MarkedShop":
        return MarkedShop(self._cloud, self._live)

    def _happen(self, name: str, shop: Shop) -> Mapping[str, object]:
        result: Mapping[str, object]
        if name == "poison_message":
            result = {"message_id": shop.send_poison()}
        else:
            status, body = shop.forge_callback()
            result = {"status": status, "body": body}
        self._live.mark(view.Mark(at=_now(), kind="broken", name=name))
        self._live.soon()
        return result

    def _tell(self, name: str) -> None:
        """Tell a story, and report what it says."""
        run = view.StoryRun(name=name, state="running")
        self._live.story(run)
        began = time.monotonic()

        def say(key: str, /, **values: object) -> None:
            nonlocal run
            run = replace(run, said=[*run.said, view.Said(key=key, values=values)])
            self._live.story(run)

        try:
            tell(name, self._shop(), say)
            ended = replace(run, state="passed")
        except Exception as error:  # whatever fails, the page shows it
            ended = replace(run, state="failed", reason=str(error) or type(error).__name__)
        self._live.story(replace(ended, seconds=round(time.monotonic() - began, 1)))

    def _lost(self, sold: int, requester: str) -> int | None:
        shop = self._shop()

        def purchased() -> int:
            try:
                return sum(shop.purchases(requester))
            except Exception as error:  # the database may be away
                raise AssertionError from error

        try:
            return sold - eventually(purchased, within=COUNT_WITHIN)
        except AssertionError:
            return None


class MarkedShop(Shop):
    """A shop in which whatever is broken and healed is marked."""

    def __init__(self, cloud: Cloud, live: Live) -> None:
        super().__init__(cloud)
        self._live = live

    def broken_now(self) -> list[str]:
        """Return the names of what is broken."""
        return [name for name, each in self.breakages.items() if _remaining(each)]

    @contextmanager
    def marking(self) -> Iterator[None]:
        """Mark what the block breaks and heals."""
        before = set(self.broken_now())
        try:
            yield
        finally:
            after = set(self.broken_now())
            for name in sorted(after - before):
                self._live.mark(view.Mark(at=_now(), kind="broken", name=name))
            for name in sorted(before - after):
                self._live.mark(view.Mark(at=_now(), kind="healed", name=name))
            self._live.soon()

    @contextmanager
    def broken(self, name: str) -> Iterator[None]:
        breakage = self.breakages[name]
        with self.marking():
            breakage.start()
        try:
            yield
        finally:
            with self.marking():
                breakage.end()

    def heal(self) -> None:
        with self.marking():
            super().heal()


def _remaining(breakage: Breakage) -> float:
    """Return for how many seconds something is still broken. 0: also if it can't be broken."""
    with suppress(LocalError):
        return breakage.remaining()
    return 0


def _require_sendable(key: str | None) -> None:
    """Raise Rejected unless the shop would take the Idempotency-Key. None and "": there is none.

    HTTP can't carry every key, and an error of the client is not a missing response.
    """
    if key and not limits.is_idempotency_key(key):
        raise Rejected("rejected.key", HTTPStatus.UNPROCESSABLE_ENTITY, most=limits.IDEMPOTENCY_KEY)


def _require_range(name: str, value: float, least: float, most: float) -> None:
    """Raise Rejected unless the value is in the range."""
    if not least <= value <= most:
        raise Rejected(
            "rejected.range",
            HTTPStatus.UNPROCESSABLE_ENTITY,
            name=name,
            least=least,
            most=most,
        )


def _now() -> int:
    """Return the time in milliseconds since the epoch."""
    return round(time.time() * 1000)
