"""The console shows each order where it really stands, also while it is held back there.

Both sources look at the same shop: the local one, and the one of an account, which knows less.
"""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from console import view
from console.account import Account
from console.breaking import LASTING, ONCE
from console.live import Live
from console.local_source import LocalSource
from console.source import Part
from local.breakage import breakages, broken
from local.cloud import Cloud
from local.emulator.faults import Fault
from local.factory import DIRECTLY, STAGES, FactoryResponse, Order, accept
from local.polling import eventually
from operations.redrive import DeadLetters, redrive
from operations.smoke import ShopApi
from tests.support.accidents import kill_database, make_due, run_relay
from tests.support.deployed_shop import PATIENCE, SETTINGS, DeployedShop, call_back
from tests.support.misbehaving import accept_without_callback, reject


class NearAccount(Account):
    """The local cloud as an account. It may be asked more often than AWS."""

    late, pause = 5.0, 0.0

    def parts(self) -> Mapping[str, Part]:
        return {name: replace(part, seconds=0.2) for name, part in super().parts().items()}


@dataclass(frozen=True)
class Console:
    """What both sources show."""

    local: Live
    account: Live

    def order(self, live: Live, order_id: str) -> view.Order | None:
        _, shown = live.wait(0, 0)
        return next((order for order in shown.orders if order.order_id == order_id), None)

    def follow(self, order_id: str, place: view.Place, *, account: view.Place) -> view.Order:
        """Wait until the order stands at this place, and return it as the local source shows it.

        account: where it stands by what an account tells.
        """
        for live, expected in ((self.local, place), (self.account, account)):

            def stands(live: Live = live, expected: view.Place = expected) -> view.Order:
                order = self.order(live, order_id)
                assert order, f"{order_id} is not shown"
                assert order.place == expected, order
                return order

            eventually(stands, within=PATIENCE)
        found = self.order(self.local, order_id)
        assert found
        return found

    def stays(self, order_id: str, place: view.Place, *, account: view.Place) -> view.Order:
        """Wait until the order stands at this place, and check that later reports do not move it."""
        found = self.follow(order_id, place, account=account)
        for live, expected in ((self.local, place), (self.account, account)):
            seen, times = 0, set[int | None]()
            while len(times) < 3:  # as often the books were checked, and everything else was read
                live.soon()
                seen, shown = live.wait(seen, PATIENCE)
                times.add(shown.checks[0].checked_at)
                places = [each.place for each in shown.orders if each.order_id == order_id]
                assert places == [expected], f"it does not stay at {expected}"
        return found

    def arrives(self, order_id: str) -> view.Order:
        return self.follow(order_id, "arrived", account="arrived")


def account_of(cloud: Cloud) -> Live:
    api = ShopApi(cloud.endpoint, open=DIRECTLY.open)
    source = NearAccount(SETTINGS, client=cloud.client, claimed_by="a test", api=api)
    return Live(source, stories=[])


@pytest.fixture(scope="module")
def console(cloud: Cloud) -> Iterator[Console]:
    console = Console(local=Live(LocalSource(cloud), stories=[]), account=account_of(cloud))
    with console.local.watch(), console.account.watch():
        yield console


@contextmanager
def queue_without_a_policy(shop: DeployedShop) -> Iterator[None]:
    """Let the topic not send to the queue in the block. The emulator then loses the message."""
    sqs, queue = shop.cloud.client("sqs"), shop.queue_url("stock_queue")
    names = {"QueueUrl": queue, "AttributeNames": ["Policy"]}
    policy = sqs.get_queue_attributes(**names)["Attributes"]["Policy"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": ""})
    try:
        yield
    finally:
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})


@contextmanager
def consumer_off(shop: DeployedShop) -> Iterator[None]:
    """Let the consumer receive nothing in the block."""
    functions = shop.cloud.client("lambda")
    (mapping,) = functions.list_event_source_mappings(
        FunctionName=SETTINGS.function_name("consumer")
    )["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    try:
        yield
    finally:
        functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=True)


def test_outbox_while_sns_rejects(shop: DeployedShop, console: Console) -> None:
    with shop.cloud.faults(Fault(service="sns", status=503)):
        order_id = shop.order_more(40)
        order = console.stays(order_id, "outbox", account="outbox")
        assert (order.status, order.quantity, order.slug) == ("requested", 40, "donut")
        _, shown = console.local.wait(0, 0)
        assert shown.pipeline.requested == 1
    make_due(shop)
    run_relay(shop)
    console.arrives(order_id)

    def is_published_by_the_relay() -> None:
        whole = console.local.order(order_id)
        assert whole
        sources = {hop.source for hop in whole.hops if hop.what == "published"}
        assert sources == {"relay", "database"}

    eventually(is_published_by_the_relay, within=PATIENCE)  # its log may be read later


def test_topic_while_it_does_not_deliver(shop: DeployedShop, console: Console) -> None:
    with queue_without_a_policy(shop):
        order_id = shop.order_more(40)
        order = console.stays(order_id, "topic", account="topic")
        assert order.status == "published"
    make_due(shop)
    run_relay(shop)
    console.arrives(order_id)


def test_queue_while_nobody_receives(shop: DeployedShop, console: Console) -> None:
    """An account does not tell what is in the queue, but how many messages it has."""
    with consumer_off(shop):
        order_id = shop.order_more(40)
        order = console.stays(order_id, "queue", account="topic")
        assert (order.receives, order.retry_at) == (0, None)
        for live in (console.local, console.account):
            _, shown = live.wait(0, 0)
            assert shown.pipeline.queue == view.Queue(visible=1, in_flight=0, delayed=0)
    console.arrives(order_id)


def test_queue_while_it_waits_for_a_retry(shop: DeployedShop, console: Console) -> None:
    shop.factory.respond = reject
    order_id = shop.order_more(40)

    def waits() -> view.Order:
        order = console.order(console.local, order_id)
        assert order
        assert order.place == "queue"
        assert order.receives, "it was not received"
        assert order.retry_at, "it can be received now"
        return order

    order = eventually(waits, within=PATIENCE)
    failed = max(hop.at for hop in order.hops if hop.what == "not placed")
    assert order.retry_at
    assert failed < order.retry_at
    assert order.max_receives == 5
    console.follow(order_id, "queue", account="queue")
    shop.factory.respond = accept
    order = console.arrives(order_id)
    reasons = [hop.fields["reason"] for hop in order.hops if hop.what == "not placed"]
    assert set(reasons) == {"the factory returned status 500"}


def test_consumer_while_the_factory_does_not_respond(shop: DeployedShop, console: Console) -> None:
    responds = threading.Event()

    def wait(order: Order) -> FactoryResponse:
        responds.wait(SETTINGS.factory_deadline)
        return FactoryResponse()

    shop.factory.respond = wait
    order_id = shop.order_more(40)
    order = console.follow(order_id, "consumer", account="topic")
    assert (order.receives, order.retry_at) == (1, None)
    responds.set()
    console.arrives(order_id)


def test_factory_while_it_is_silent(shop: DeployedShop, console: Console) -> None:
    shop.factory.respond = accept_without_callback
    order_id = shop.order_more(40)
    order = console.stays(order_id, "factory", account="factory")
    assert order.stage == 0
    call_back(shop.callback_url(order_id), json={})
    console.arrives(order_id)


def test_factory_moves_the_order_through_its_stages(shop: DeployedShop, console: Console) -> None:
    usual, shop.factory.stage_seconds = shop.factory.stage_seconds, 0.6
    stages = []
    try:
        order_id = shop.order_more(40)

        def is_last() -> None:
            order = console.order(console.local, order_id)
            if order and order.place == "factory":
                stages.append(order.stage)
            assert stages
            assert stages[-1] == STAGES

        eventually(is_last, within=PATIENCE)
    finally:
        shop.factory.stage_seconds = usual
    assert stages == sorted(stages, key=lambda stage: stage or 0)
    assert len(set(stages)) > 2, stages
    order = console.arrives(order_id)
    shown = [hop.fields["stage"] for hop in order.hops if hop.what == "stage"]
    assert shown == list(range(1, STAGES + 1))


def test_callback_while_it_is_rejected(shop: DeployedShop, console: Console) -> None:
    """The factory does not repeat it. By what an account tells, the order is at the factory."""
    functions, restock = shop.cloud.client("lambda"), SETTINGS.function_name("restock")
    functions.put_function_concurrency(FunctionName=restock, ReservedConcurrentExecutions=0)
    try:
        order_id = shop.order_more(40)
        order = console.stays(order_id, "callback", account="factory")
    finally:
        functions.delete_function_concurrency(FunctionName=restock)
    assert [hop.fields for hop in order.hops if hop.what == "called back"] == [{"status": 503}]
    call_back(shop.callback_url(order_id), json={})
    console.arrives(order_id)


@pytest.mark.usefixtures("two_receives")
def test_dead_letter_after_the_last_receive(shop: DeployedShop, console: Console) -> None:
    shop.cloud.client("sqs").purge_queue(QueueUrl=shop.queue_url("stock_dlq"))
    shop.factory.respond = reject
    order_id = shop.order_more(40)
    order = console.stays(order_id, "dead_letter", account="dead_letter")
    assert order.receives == 2
    for live in (console.local, console.account):
        _, shown = live.wait(0, 0)
        assert shown.pipeline.dead_letters == view.Queue(visible=1, in_flight=0, delayed=0)
    shop.factory.respond = accept
    with DeadLetters(shop.cloud.client("sqs"), shop.queue_url("stock_dlq")) as dead_letters:
        redrive(dead_letters, target_url=shop.queue_url("stock_queue"))
    console.arrives(order_id)


def test_stuck_after_the_last_reminder(shop: DeployedShop, console: Console) -> None:
    shop.factory.respond = accept_without_callback
    order_id = shop.order_more(40)
    shop.placed_order(order_id)
    console.follow(order_id, "factory", account="factory")
    shop.sql("UPDATE production_order SET publications = 4")
    make_due(shop)
    run_relay(shop)
    order = console.stays(order_id, "stuck", account="stuck")
    assert order.status == "stuck"
    _, shown = console.local.wait(0, 0)
    assert shown.pipeline.stuck == 1
    call_back(shop.callback_url(order_id), json={})
    console.arrives(order_id)


def test_arrived_order_has_all_of_its_hops(shop: DeployedShop, console: Console) -> None:
    order_id = shop.order_more(40)
    shop.wait_for(order_id)
    console.stays(order_id, "arrived", account="arrived")
    for live in (console.local, console.account):
        order = live.order(order_id)
        assert order
        assert order.arrived_at
        steps = [hop.what for hop in order.hops if hop.source != "factory"]
        expected = {"requested", "checkout", "published", "queued", "placed", "restock", "arrived"}
        assert expected <= set(steps), steps
        times = [hop.at for hop in order.hops]
        assert times == sorted(times)
        assert shop.callback_url(order_id) not in str(order)
    assert console.local.order("missing") is None
    assert console.account.order("missing") is None


def test_marks_and_samples_follow_the_stock(shop: DeployedShop, console: Console) -> None:
    def stock(expected: int) -> view.View:
        _, shown = console.local.wait(0, 0)
        assert [product.stock for product in shown.products] == [expected]
        return shown

    eventually(lambda: stock(10), within=PATIENCE)
    shop.checkout(3)
    eventually(lambda: stock(7), within=PATIENCE)
    order_id = shop.order_more(40)
    console.arrives(order_id)
    shown = eventually(lambda: stock(47), within=PATIENCE)
    (donut,) = shown.products
    assert donut.name == "부산도너츠"
    samples = [sample.stock for sample in shown.samples["donut"]]
    changes = [now for before, now in pairwise(samples) if now != before]
    assert changes[-3:] == [10, 7, 47]

    def marked() -> None:
        _, shown = console.local.wait(0, 0)
        marks = [(mark.kind, mark.quantity) for mark in shown.marks]
        assert marks[-3:] == [("purchase", 3), ("out_of_stock", 40), ("arrival", 40)]

    eventually(marked, within=PATIENCE)


def test_breakages_have_the_alarms_of_the_template(shop: DeployedShop, console: Console) -> None:
    """In the end the marks say that SNS was broken and healed, although no action told them."""

    def alarms_are_known() -> view.View:
        console.local.soon()
        _, shown = console.local.wait(0, 0)
        found = {each.name: each.alarm and each.alarm.name for each in shown.breakages}
        assert found == {name: kind.alarm for name, kind in [*LASTING.items(), *ONCE.items()]}
        return shown

    shown = eventually(alarms_are_known, within=PATIENCE)
    (factory_off,) = [each for each in shown.breakages if each.name == "factory_off"]
    alarm = factory_off.alarm
    assert alarm
    assert (alarm.threshold, alarm.periods, alarm.period_seconds) == (1, 1, 60)
    assert alarm.comparison == "GreaterThanOrEqualToThreshold"
    assert "could not be placed" in alarm.description

    def is_broken(expected: bool) -> None:
        _, shown = console.local.wait(0, 0)
        (sns,) = [each for each in shown.breakages if each.name == "sns"]
        assert (sns.remaining > 0) == expected
        kinds = [mark.kind for mark in shown.marks if mark.name == "sns"]
        assert kinds == (["broken"] if expected else ["broken", "healed"])

    with broken(breakages(shop.cloud)["sns"]):
        eventually(lambda: is_broken(True), within=PATIENCE)
    eventually(lambda: is_broken(False), within=PATIENCE)


def test_database_that_is_away_hides_neither_queues_nor_log(
    shop: DeployedShop, console: Console
) -> None:
    shop.factory.respond = accept_without_callback
    order_id = shop.order_more(40)
    console.follow(order_id, "factory", account="factory")
    kill_database(shop)
    try:

        def both_say_so() -> None:
            for live in (console.local, console.account):
                _, shown = live.wait(0, 0)
                assert shown.problems.keys() == {"database"}

        eventually(both_say_so, within=PATIENCE)
        assert shop.checkout(1).status_code == 503

        def is_logged() -> view.View:
            _, shown = console.local.wait(0, 0)
            assert "database unavailable" in {entry.message for entry in shown.log[:20]}
            assert shown.checks[0].holds is None  # the books are read less often than the orders
            return shown

        shown = eventually(is_logged, within=PATIENCE)
        assert shown.pipeline.queue is not None
        assert shown.pipeline.requested is None
        assert [each.place for each in shown.orders if each.order_id == order_id] == ["factory"]
    finally:
        shop.cloud.database.start()

    def no_problem() -> None:
        for live in (console.local, console.account):
            assert live.wait(0, 0)[1].problems == {}

    eventually(no_problem, within=PATIENCE)
