"""Complete views for the console's page: an ordinary one, and what is unusual in each way."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from console.breaking import LASTING, ONCE
from console.view import (
    Alarm,
    Breakage,
    Check,
    Checkout,
    Hop,
    LogEntry,
    Mark,
    Order,
    Pipeline,
    Place,
    Product,
    Queue,
    Rush,
    Said,
    Sample,
    StoryRun,
    View,
)

AT = 1_790_000_000_000
"""The time of the views."""
SCRIPT = "<script>document.title='unsafe'</script><img src=x onerror=alert(1)>"
REST = "0000-4000-8000-000000000000"
"""The end of each order's id."""

STORIES = (
    *("the_loop", "last_donut", "factory_outage", "sns_outage", "database_death"),
    *("callbacks", "the_original"),
)
CHECKS: Sequence[Literal["balance", "not_negative", "one_order", "arrives_once", "key_sold_once"]]
CHECKS = ("balance", "not_negative", "one_order", "arrives_once", "key_sold_once")


def alarm(name: str, *, state: str = "OK") -> Alarm:
    return Alarm(
        name=name,
        description="Production orders could not be placed at the factory. Run: ENV=local make logs."
        f" docs/runbook.md: {name}",
        threshold=1.0,
        comparison="GreaterThanOrEqualToThreshold",
        periods=1,
        period_seconds=60,
        state=state,
    )


def breakages(*broken: str) -> Sequence[Breakage]:
    """Return all breakages. Those that are named last for another 97.4 seconds."""
    return [
        Breakage(
            name=name,
            part=kind.part,
            remaining=97.4 if name in broken else 0,
            lasts=name in LASTING,
            alarm=alarm(kind.alarm) if kind.alarm else None,
        )
        for name, kind in {**LASTING, **ONCE}.items()
    ]


HOPS = (
    Hop(at=0, source="database", what="requested", fields={"quantity": 50}),
    Hop(at=120, source="sales", what="published"),
    Hop(at=180, source="stock_queue", what="queued", fields={"receives": 1}),
    Hop(at=1250, source="consumer", what="placed", fields={"receives": 1}),
    *(
        Hop(at=1250 + 1000 * stage, source="factory", what="stage", fields={"stage": stage})
        for stage in range(1, 6)
    ),
    Hop(at=7260, source="factory", what="called back", fields={"status": 200}),
    Hop(at=7300, source="database", what="arrived", fields={"stock": 60}),
)
"""The way of an order without failures, with its times after the first one."""


def order(
    number: int,
    place: Place,
    *,
    hops: int,
    requested_at: int,
    stage: int | None = None,
    receives: int | None = None,
    retry_at: int | None = None,
) -> Order:
    """Return an order that has made so many of the HOPS."""
    made = [replace(hop, at=requested_at + hop.at) for hop in HOPS[:hops]]
    failures = [
        Hop(
            at=made[-1].at + 1000 * 2**receive,
            source="consumer",
            what="not placed",
            fields={"receives": receive, "reason": "the factory returned status 500"},
        )
        for receive in range(1, receives or 1)
    ]
    return Order(
        order_id=f"{number:08x}-{REST}",
        slug="donut",
        quantity=50,
        status={"outbox": "requested", "arrived": "arrived", "stuck": "stuck"}.get(
            place, "published"
        ),
        place=place,
        stage=stage,
        receives=receives,
        max_receives=5 if receives else None,
        retry_at=retry_at,
        requested_at=requested_at,
        arrived_at=made[-1].at if place == "arrived" else None,
        hops=[*made, *failures],
    )


ORDERS = (
    order(0x9A93A304, "outbox", hops=1, requested_at=AT - 400),
    order(0x3A904D27, "topic", hops=2, requested_at=AT - 900),
    order(0x862A4752, "queue", hops=3, requested_at=AT - 9000, receives=3, retry_at=AT + 3700),
    order(0x49472A90, "consumer", hops=3, requested_at=AT - 1500, receives=1),
    order(0xBD06ACD8, "factory", hops=4, requested_at=AT - 2200, stage=0),
    order(0x8BC9448B, "factory", hops=6, requested_at=AT - 4200, stage=2),
    order(0xE32A80C9, "factory", hops=9, requested_at=AT - 6900, stage=5),
    order(0x1356E127, "callback", hops=10, requested_at=AT - 7280),
    *(
        order(0x70000000 + number, "arrived", hops=11, requested_at=AT - 60_000 - 5000 * number)
        for number in range(6)
    ),
)
PRODUCT = Product(slug="donut", name="부산도너츠", price=19_900, stock=38, max_quantity=1000)
SAMPLES = [
    Sample(
        at=AT - 90_000 + 1000 * second,
        stock=10 - second // 12 + (50 if second > 42 else 0) - second // 6,
    )
    for second in range(91)
]
MARKS = (
    *(Mark(at=AT - 88_000 + 6000 * number, kind="purchase", quantity=1) for number in range(14)),
    Mark(at=AT - 70_000, kind="out_of_stock", quantity=50),
    Mark(at=AT - 62_000, kind="broken", name="factory_fails"),
    Mark(at=AT - 51_000, kind="healed", name="factory_fails"),
    Mark(at=AT - 47_000, kind="arrival", quantity=50),
)


def checkout(number: int, *, status: int = 200, order_id: str | None = None) -> Checkout:
    bodies: dict[int, dict[str, Any]] = {
        0: {},
        200: {"message": "구매 완료! 남은 재고: 38", "purchased": True, "stock": 38},
        503: {"message": "데이터베이스 연결 오류"},
    }
    body = bodies[status]
    if order_id:
        body = {"message": "구매 실패! 남은 재고: 38", "purchased": False, "stock": 38}
        body |= {"order_id": order_id}
    return Checkout(
        at=AT - 1000 * number,
        quantity=50 if order_id else 1,
        key=f"{number:08x}-{REST}" if number % 3 == 0 else None,
        status=status,
        body=body,
        milliseconds=58.4 + number,
    )


def entry(
    number: int, *, source: str, level: str, message: str, of: Order | None = None
) -> LogEntry:
    return LogEntry(
        at=AT - 317 * number,
        source=source,
        level=level,
        message=message,
        order_id=of.order_id if of else None,
        text=f"outcome=sold quantity=1 stock={38 + number}",
    )


LOG = (
    entry(0, source="sales", level="INFO", message="checkout", of=ORDERS[0]),
    entry(1, source="sales", level="INFO", message="published", of=ORDERS[1]),
    entry(2, source="consumer", level="ERROR", message="not placed", of=ORDERS[2]),
    entry(3, source="sales", level="WARNING", message="left to the relay", of=ORDERS[0]),
    entry(4, source="restock", level="INFO", message="restock", of=ORDERS[8]),
    *(entry(number, source="sales", level="INFO", message="checkout") for number in range(5, 30)),
    entry(2000, source="relay", level="INFO", message="relay"),
)
STORY_RUNS = (
    StoryRun(
        name="the_loop",
        state="passed",
        seconds=9.31,
        said=(
            Said(key="the_loop.title", values={}),
            Said(key="the_loop.expectation", values={}),
            Said(key="the_loop.counted", values={"stock": 10}),
            Said(key="the_loop.sold", values={"stock": 9}),
            Said(key="the_loop.ordered", values={"quantity": 50, "order_id": ORDERS[8].order_id}),
        ),
    ),
    StoryRun(
        name="last_donut",
        state="failed",
        seconds=4.0,
        reason="the last donut was sold 2 times",
        said=(Said(key="last_donut.counted", values={}),),
    ),
    *(
        StoryRun(name=name, state="never")
        for name in ("factory_outage", "sns_outage", "database_death", "callbacks")
    ),
    StoryRun(
        name="the_original",
        state="running",
        said=(
            Said(key="the_original.title", values={}),
            Said(key="the_original.original", values={"sold": 200, "fell": 63, "lost": 137}),
            Said(key="the_original.ours", values={"sold": 20, "fell": 20, "lost": 0}),
        ),
    ),
)
BOOK = {
    "slug": "donut",
    "entries": 10,
    "purchases": 22,
    "arrivals": 50,
    "expected": 38,
    "stock": 38,
    "difference": 0,
}

ORDINARY = View(
    environment="local",
    url="http://127.0.0.1:8080",
    at=AT,
    can_buy=True,
    asks_before_buying=False,
    can_break=True,
    products=[PRODUCT],
    books=[BOOK],
    checks=[Check(name=name, holds=True, checked_at=AT - 400) for name in CHECKS],
    samples={"donut": SAMPLES},
    marks=MARKS,
    pipeline=Pipeline(
        requested=1,
        oldest_requested_seconds=0,
        queue=Queue(visible=1, in_flight=1, delayed=0),
        dead_letters=Queue(visible=0, in_flight=0, delayed=0),
        stuck=0,
        stages=[0, 1, 0, 0, 1],
        arrived=6,
    ),
    orders=ORDERS,
    breakages=breakages(),
    alarms=[alarm("StockDlqNotEmpty")],
    checkouts=[
        checkout(0, order_id=ORDERS[0].order_id),
        *(checkout(number) for number in range(1, 9)),
    ],
    rush=Rush(buyers=100, at_once=20, sold=62, out_of_stock=37, failed=1, p50=58, p99=412, lost=0),
    stories=STORY_RUNS,
    log=LOG,
)
"""The shop in use: an order at each place, and nothing is wrong."""

BROKEN = replace(
    ORDINARY,
    breakages=breakages("factory_fails", "sns", "sqs", "database_killed"),
    alarms=[alarm("StockDlqNotEmpty", state="ALARM")],
    problems={"database": "Can't connect to MySQL server on '127.0.0.1'"},
    pipeline=replace(
        ORDINARY.pipeline, dead_letters=Queue(visible=2, in_flight=0, delayed=0), stuck=1
    ),
    orders=[
        replace(ORDERS[0], order_id=f"dead0001-{REST}", place="dead_letter", receives=5),
        replace(ORDERS[1], order_id=f"dead0002-{REST}", place="dead_letter", receives=5),
        replace(ORDERS[2], order_id=f"57cc0001-{REST}", place="stuck", status="stuck"),
        *ORDERS,
    ],
    checkouts=[checkout(0, status=503), checkout(1, status=0), *ORDINARY.checkouts],
    checks=[
        Check(
            name="balance",
            holds=False,
            checked_at=AT,
            violations=[{"at": AT - 5000, **BOOK, "stock": 39, "difference": 1}],
        ),
        *(Check(name=name, checked_at=None) for name in CHECKS[1:]),
    ],
    rush=Rush(buyers=100, at_once=20, sold=30, out_of_stock=2, failed=10, lost=3),
    busy="factory_outage",
)
"""Much is broken at once, and the books do not balance."""

ACCOUNT = View(
    environment="prod",
    url="https://a1b2c3d4e5.execute-api.ap-northeast-2.amazonaws.com",
    at=AT,
    can_buy=False,
    asks_before_buying=False,
    can_break=False,
    problems={
        "queues": "AccessDenied: sqs:GetQueueAttributes",
        "logs": "ExpiredToken: the security token has expired",
    },
)
"""An environment on AWS where one can only look, and that reports nothing."""

ASKING = replace(
    ACCOUNT,
    environment="dev",
    can_buy=True,
    asks_before_buying=True,
    problems={},
    products=[PRODUCT, replace(PRODUCT, slug="bagel", name="베이글", stock=2)],
)
"""An environment on AWS where one can buy."""

HOSTILE = replace(
    ORDINARY,
    environment=SCRIPT,
    url=SCRIPT,
    problems={"database": SCRIPT},
    products=[replace(PRODUCT, name=SCRIPT)],
    books=[BOOK | {"slug": SCRIPT}],
    checks=[Check(name="balance", holds=False, violations=[{"at": AT, SCRIPT: SCRIPT}])],
    orders=[replace(ORDERS[0], order_id=SCRIPT, slug=SCRIPT, status=SCRIPT)],
    alarms=[replace(alarm(SCRIPT), description=SCRIPT, state="ALARM")],
    checkouts=[
        replace(checkout(0), key=SCRIPT, body={"message": SCRIPT, "order_id": SCRIPT}),
    ],
    stories=[
        StoryRun(
            name="the_loop",
            state="failed",
            reason=SCRIPT,
            said=[Said(key="the_loop.ordered", values={"quantity": SCRIPT, "order_id": SCRIPT})],
        )
    ],
    log=[
        LogEntry(at=AT, source=SCRIPT, level="ERROR", message=SCRIPT, order_id=SCRIPT, text=SCRIPT)
    ],
)
"""Every text that comes from elsewhere contains HTML."""

VIEWS = {
    "ordinary": ORDINARY,
    "broken": BROKEN,
    "account": ACCOUNT,
    "asking": ASKING,
    "hostile": HOSTILE,
}
