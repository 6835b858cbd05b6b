"""Bad input in bulk, what may be answered to it, and the books that it must not change.

The boundaries of every limit always come first, in full. Half of the rest is schemathesis's, from docs/openapi.yaml;
half is put together from what has broken other shops.
`INPUTS=10000 pytest …` tries so many, other ones each time; with `SEED=17`, too, the same ones.
"""

import json
import os
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_from_bytes, unquote

import hypothesis
import jsonschema_rs
import requests
import schemathesis
import yaml
from schemathesis import Case, GenerationMode

from common import limits
from settings import ENVIRONMENTS, PROJECT
from tests.support.books import Books

INPUTS = int(os.environ.get("INPUTS", "1000"))
SEED = int(os.environ.get("SEED") or (random.randrange(2**32) if "INPUTS" in os.environ else 0))
OPENAPI = PROJECT / "docs" / "openapi.yaml"
DOCUMENT = yaml.safe_load(OPENAPI.read_text())
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
JSON = "application/json; charset=utf-8"
CANARY = "kanarienvogel"
"""In every text that is sent: neither an answer nor a log may repeat it."""
TOKEN = f"{CANARY}-ThisOrdersOwnToken"
BAGEL_ID = "b0000000-0000-4000-8000-000000000000"
ORDER_ID = "11111111-1111-4111-8111-111111111111"
STOCK = 5000
MAX_QUANTITY = ENVIRONMENTS["local"].max_quantity
WORDS = {
    "MessageAttributeProductCnt",
    "MessageAttributeProductId",
    "MessageAttributeFactoryId",
    "requester",
}
WORDS |= {
    "MessageAttributeRequester",
    "Idempotency-Key",
    "ASCII",
    "JSON",
    "UTF-8",
    "KiB",
    "Not",
    "Found",
}
"""All that a message may hold beside Korean and numbers: no word of SQL, path, host or code is among them."""


@dataclass(frozen=True)
class Input:
    """target: the path and query as on the wire."""

    method: str
    target: str
    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def route(self) -> tuple[str, str] | None:
        """The documented path and method that it goes to."""
        for path, operations in DOCUMENT["paths"].items():
            if self.method.lower() in operations and re.fullmatch(
                re.sub(r"{\w+}", "[^/]+", path), unquote(self.path), re.S
            ):
                return path, self.method.lower()
        return None


@dataclass(frozen=True)
class Answer:
    """headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


# --- what is sent


TEXTS = [
    "",
    " ",
    "홍길동",
    "🍩" * 9,
    "\u202eabc\u202c",
    "\u200b\u2060\ufeff",
    "e\u0301" * 90,
    "𝔘𝔫𝔦",
    "ﷺ" * 30,
    "٣",
    "İı",
]
TEXTS += [
    "'; DROP TABLE purchase; -- ",
    '"); DELETE FROM product; #',
    "' OR SLEEP(9) -- ",
    "\\",
    "'",
    "`",
    "%' --",
    "\x1a",
]
TEXTS += [
    "%s%n%d{0}",
    "{0.__class__}",
    "{{7*7}}",
    "${jndi:ldap://x/a}",
    "$(id)",
    "`id`",
    "<script>alert(1)</script>",
]
TEXTS += [
    "../../../etc/passwd",
    "..\\..\\",
    "file:///etc/passwd",
    "\x00",
    "\x1b[2J",
    "\x7f",
    "\x85",
    "\ud800",
    "\udfff",
]
TEXTS += [
    "\ufffe",
    "\uffff",
    "\r\nSet-Cookie: a=b",
    "\n",
    "\t",
    "\u2028",
    "null",
    "NaN",
    "a" * 199,
    "홍" * 200,
    "b" * 9000,
]
COUNTS = [
    "1",
    "1",
    "2",
    "1000",
    '"5"',
    '"007"',
    "999",
    "0",
    "-0",
    "-1",
    "1001",
    "1.0",
    "1e2",
    "1E0",
    "1e400",
    "-1e400",
]
COUNTS += [
    "NaN",
    "-Infinity",
    "0x10",
    "01",
    "9" * 400,
    "9" * 5000,
    "null",
    "true",
    "[1]",
    "{}",
    '""',
    '" 1"',
    '"+1"',
]
COUNTS += [
    '"1_0"',
    '"٣"',
    '"５"',
    '"1\\u0000"',
    '"1\\n"',
    f'"{"0" * 19}1"',
    f'"{"0" * 20}1"',
    '"1 OR 1=1"',
    "18446744073709551617",
]
VALUES = [
    "null",
    "5",
    "false",
    "[]",
    '["a"]',
    '{"a": 1}',
    "[" * 4000 + "]" * 4000,
    '{"a":' * 2000 + "1" + "}" * 2000,
    "1e999",
    "1e99999999999999999999",
    "9" * 5000,
]
NAMES = [
    "MessageAttributeProductId",
    "MessageAttributeFactoryId",
    "requester",
    "MessageAttributeRequester",
    "extra",
]
NAMES += ["__proto__", "messageattributeproductcnt", "MessageAttributeProductCnt\\u0000"]
PRODUCTS = [
    f'"{BAGEL_ID}"',
    f'"{BAGEL_ID.upper()}"',
    f'"{BAGEL_ID} "',
    f'"{BAGEL_ID}\\u0000"',
    '"donut"',
]
ENCODINGS = ["utf-8-sig", "utf-16", "utf-32-le", "latin-1", "euc-kr", "utf-7"]
CONTENT_TYPES = [
    b"application/json",
    b"text/plain",
    b"application/octet-stream",
    b"application/x-www-form-urlencoded",
]
CONTENT_TYPES += [
    b"multipart/form-data",
    b"application/json; charset=utf-16",
    b"",
    b"\xff",
    CANARY.encode() * 50,
]
SEGMENTS = [
    "donut",
    "bagel",
    "DONUT",
    "donut%20",
    "donut%00",
    "donut%0a",
    "%64onut",
    "donut;a=b",
    "donut'",
    "%",
    "%zz",
    "%ff%fe",
]
SEGMENTS += [
    "..%2f..%2fetc%2fpasswd",
    "..",
    ".",
    "%2e%2e",
    "%c0%ae%c0%ae",
    "donut%2f",
    "{slug}",
    "x" * 64,
    "x" * 65,
    "x" * 4000,
]
SEGMENTS += [
    ORDER_ID,
    ORDER_ID.replace("1", "%31"),
    f"{ORDER_ID}%00",
    "0",
    "-1",
    "null",
    "$default",
    "*",
    "donut+",
    "~",
]
TOKENS = [
    TOKEN[:-1],
    f"{TOKEN}x",
    TOKEN.upper(),
    f"{TOKEN}%00",
    f"%20{TOKEN}",
    f"{TOKEN},{TOKEN}",
    f"{TOKEN}&token=a",
    "",
]
TOKENS += [
    f"{CANARY}-BagelsOrdersToken",
    f"{CANARY}%27%20OR%20%271",
    "%ff",
    "%ED%99%8D",
    CANARY * 99,
    f"[]=&token[]={TOKEN}",
]


def with_canary(dice: random.Random) -> str:
    return CANARY.join(dice.choices(TEXTS, k=2))


def json_text(dice: random.Random) -> str:
    """As JSON, escaped or not, and well-formed or not."""
    text = with_canary(dice)
    return (
        json.dumps(text, ensure_ascii=dice.random() < 0.5) if dice.random() < 0.95 else f'"{text}"'
    )


def spoiled(dice: random.Random, body: bytes) -> bytes:
    at = dice.randrange(len(body) + 1)
    way = dice.randrange(5)
    if way == 0:
        return body[:at]
    if way == 1:
        return body[:at] + dice.randbytes(dice.randint(1, 4)) + body[at:]
    if way == 2:
        return body[:at] + dice.randbytes(1) + body[at + 1 :]
    if way == 3:
        return body + body
    return body.ljust(limits.BODY_BYTES + dice.choice([-1, 0, 1]))


def checkout_body(dice: random.Random) -> bytes:
    fields = [
        ("MessageAttributeProductCnt", dice.choice(COUNTS))
        for _ in range(dice.choice([0, 1, 1, 1, 1, 1, 2]))
    ]
    for name in dice.choices(NAMES, k=dice.randint(0, 4)):
        others = PRODUCTS if name == "MessageAttributeProductId" else VALUES
        fields.append((name, json_text(dice) if dice.random() < 0.7 else dice.choice(others)))
    dice.shuffle(fields)
    text = "{" + ", ".join(f'"{name}": {value}' for name, value in fields) + "}"
    if dice.random() < 0.1:
        text = dice.choice(["[%s]", "%s,", '"%s"', "//\n%s", "%s\x00", "(%s)", "\x0b%s"]) % text
    encoding = dice.choice(ENCODINGS) if dice.random() < 0.1 else "utf-8"
    body = text.encode(
        encoding, "replace" if encoding in ("latin-1", "euc-kr") else "surrogatepass"
    )
    return spoiled(dice, body) if dice.random() < 0.3 else body


def idempotency_key(dice: random.Random) -> bytes:
    keys = [
        CANARY.encode() + b"%d" % dice.randrange(50),
        b"",
        b"k" * limits.IDEMPOTENCY_KEY,
        b"k" * (limits.IDEMPOTENCY_KEY + 1),
        b"a,b",
        b"a\tb",
        b"\xff\xfe",
    ]
    keys += [
        f"{CANARY} 홍길동".encode(),
        f"{CANARY}'; DROP TABLE idempotency_key; -- ".encode(),
        b"%s%00{0}",
    ]
    return dice.choice(keys)


def hostile(dice: random.Random) -> Input:
    """One input that is no one's honest request, or looks like one."""
    segment = dice.choice(SEGMENTS)
    if dice.random() < 0.3:
        segment = quote_from_bytes(with_canary(dice).encode("utf-8", "surrogatepass"), safe="")[
            :4000
        ]
    method, target = dice.choices(
        [
            ("POST", "/checkout"),
            ("GET", f"/product/{segment}"),
            ("GET", f"/order/{segment}"),
            ("POST", f"/product/{segment}"),
            (dice.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"]), f"/{segment}"),
        ],
        [6, 1, 1, 2, 1],
    )[0]
    if (method, target) == ("POST", f"/product/{segment}"):
        # The order is real; a token never is its own, but for the last, which comes to another product's path.
        target = dice.choice([target, "/product/donut", "/product/donut"])
        query = f"order={dice.choice([ORDER_ID, ORDER_ID, segment])}&token={dice.choice(TOKENS)}"
        target += dice.choice(
            ["", "?", "?order", f"?{query}", f"?{query}", f"?{query}&order={ORDER_ID}"]
        )
        if dice.random() < 0.1:
            target = f"/product/bagel?order={ORDER_ID}&token={TOKEN}"
    elif dice.random() < 0.1:
        target += f"?{CANARY}={quote(dice.choice(TEXTS)[:50].encode('utf-8', 'surrogatepass'))}"
    headers = {"content-type": dice.choice(CONTENT_TYPES)} if dice.random() < 0.5 else {}
    if dice.random() < 0.3:
        headers["idempotency-key"] = idempotency_key(dice)
    if dice.random() < 0.1:
        headers[dice.choice(["cookie", "x-forwarded-for", "x-http-method-override", "accept"])] = (
            CANARY.encode()
        )
    return Input(method, target, headers, checkout_body(dice) if method != "GET" else None)


def from_case(case: Case[Any]) -> Input:
    if isinstance(case.body, dict):
        texts = {
            name: f"{CANARY}{value}" for name, value in case.body.items() if isinstance(value, str)
        }
        texts.pop("MessageAttributeProductCnt", None)
        case.body |= texts
    request = requests.Request(**case.as_transport_kwargs(base_url="http://shop.test")).prepare()
    headers = {
        name: v if isinstance(v, bytes) else v.encode() for name, v in request.headers.items()
    }
    body = request.body.encode() if isinstance(request.body, str) else request.body
    kept = {
        name.lower(): v
        for name, v in headers.items()
        if name.lower() in ("content-type", "idempotency-key")
    }
    return Input(str(request.method), request.path_url, kept, body)


def of_schema(
    path: str, method: str, mode: GenerationMode, *, seed: int, count: int
) -> list[Input]:
    inputs: list[Input] = []
    if not count:
        return inputs

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(SCHEMA[path][method].as_strategy(generation_mode=mode))
    def collect(case: Case[Any]) -> None:
        inputs.append(from_case(case))

    collect()
    return inputs


def hostile_inputs(count: int, *, seed: int = SEED) -> Iterator[Input]:
    """Yield the inputs around every limit, and `count` others."""
    yield from boundary_inputs()
    positive, negative = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
    yield from of_schema("/checkout", "POST", positive, seed=seed, count=count // 8)
    yield from of_schema("/checkout", "POST", negative, seed=seed, count=count // 8)
    yield from of_schema("/product/{slug}", "POST", positive, seed=seed, count=count // 12)
    yield from of_schema("/product/{slug}", "POST", negative, seed=seed, count=count // 12)
    yield from of_schema("/product/{slug}", "GET", positive, seed=seed, count=count // 24)
    yield from of_schema("/order/{order_id}", "GET", positive, seed=seed, count=count // 24)
    dice = random.Random(seed)
    for _ in range(count - count // 8 * 2 - count // 12 * 2 - count // 24 * 2):
        yield hostile(dice)


# --- the boundaries of the limits


def text(length: int, *, character: str = "x") -> str:
    """Return so many characters, with the canary in front where there is room for it."""
    return (CANARY + character * length)[:length] if length > len(CANARY) else character * length


def checkout_of(literal: str, **fields: str) -> Input:
    """Return a checkout. literal: the quantity, as JSON text."""
    rest = "".join(f", {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items())
    return Input(
        "POST", "/checkout", body=f'{{"MessageAttributeProductCnt": {literal}{rest}}}'.encode()
    )


def callback(slug: str = "donut", *, order_id: str = ORDER_ID, token: str) -> Input:
    return Input("POST", f"/product/{slug}?order={order_id}&token={token}")


def around_product_id(length: int) -> list[Input]:
    return [
        checkout_of("1", MessageAttributeProductId=text(length)),
        checkout_of("1", MessageAttributeProductId=f" {BAGEL_ID}{'0' * length}"[: length + 1]),
    ]


def around_slug(length: int) -> list[Input]:
    """The token is the order's own, but of another product's path."""
    return [Input("GET", f"/product/{text(length)}"), callback(text(length), token=TOKEN)]


def around_order_id(length: int) -> list[Input]:
    """Spaces fill the real order's id: SQL would ignore them, and the token is that order's own."""
    order_id = (
        f"{ORDER_ID}{'%20' * (length - len(ORDER_ID))}" if length > len(ORDER_ID) else text(length)
    )
    return [Input("GET", f"/order/{text(length)}"), callback(order_id=order_id, token=TOKEN)]


def around_callback_token(length: int) -> list[Input]:
    return [
        callback(token=f"{TOKEN}{'x' * length}"[:length]),
        callback(token=f"{TOKEN}{'%20' * (length - len(TOKEN))}"),
    ]


def around_text(length: int) -> list[Input]:
    """Three alphabets, bare and padded: the limit counts characters after trimming, not bytes."""
    names = ["requester", "MessageAttributeRequester", "MessageAttributeFactoryId"]
    texts = [text(length, character=character) for character in ("x", "홍", "🍩")]
    return [
        checkout_of("1", **{name: padding + bare + padding})
        for name in names
        for bare in texts
        for padding in ("", " \t\u3000\n")
    ]


def around_idempotency_key(length: int) -> list[Input]:
    """Two different requests with one key."""
    headers = {"idempotency-key": text(length).encode()}
    return [
        Input("POST", "/checkout", headers, checkout_of(literal).body) for literal in ("1", "2")
    ]


def around_body_bytes(length: int) -> list[Input]:
    """A small request and white space; one with text of three bytes per character; one that is not JSON to its end."""
    start = b'{"MessageAttributeProductCnt": 1, "extra": "'
    hangul = "홍" * ((length - len(start) - 2) // 3)
    bodies = [
        (checkout_of("1").body or b"").ljust(length),
        (start + f'{hangul}"}}'.encode()).ljust(length),
    ]
    return [Input("POST", "/checkout", body=body) for body in [*bodies, start.ljust(length, b"x")]]


def around_quantity_digits(length: int) -> list[Input]:
    """Five and max_quantity behind zeros, and the largest number of so many digits."""
    return [
        checkout_of(f'"{digits}"')
        for digits in (f"{5:0{length}}", f"{MAX_QUANTITY:0{length}}", "9" * length)
    ]


AROUND: dict[str, Callable[[int], list[Input]]] = {
    "PRODUCT_ID": around_product_id,
    "SLUG": around_slug,
    "ORDER_ID": around_order_id,
    "CALLBACK_TOKEN": around_callback_token,
    "TEXT": around_text,
    "IDEMPOTENCY_KEY": around_idempotency_key,
    "BODY_BYTES": around_body_bytes,
    "QUANTITY_DIGITS": around_quantity_digits,
}
"""Name of a limit → inputs that are so long, in characters, bytes or digits."""
QUANTITIES = [
    "5",
    '"5"',
    '"005"',
    "5.0",
    "5e0",
    "50e-1",
    "1e1",
    "5.0000000000000001",
    "0.99999999999999999999",
]
QUANTITIES += [
    "0",
    "-0",
    "-0.0",
    "0.0",
    "1e400",
    "-1e400",
    "1e-400",
    "1e999999999",
    "1e-999999999",
    "NaN",
    "Infinity",
]
QUANTITIES += [
    "-Infinity",
    "1e99999999999999999999",
    "1e-99999999999999999999",
    "0e99999999999999999999",
    "9" * 5000,
]
QUANTITIES += [
    f"5.{'0' * 5000}",
    f"5.{'0' * 5000}1",
    f'"{"9" * 5000}"',
    f'"{"0" * 5000}5"',
    "null",
    "true",
    "[5]",
    "{}",
]


def boundaries(limit: int) -> tuple[int, ...]:
    return limit - 1, limit, limit + 1, 2 * limit


def boundary_inputs() -> list[Input]:
    """Return what lies around every limit, each input twice: the second one meets what the first one left."""
    inputs = [
        input
        for name, around in AROUND.items()
        for n in boundaries(getattr(limits, name))
        for input in around(n)
    ]
    inputs += [input for length in range(1, 81) for input in around_product_id(length)]
    for quantity in (1, *boundaries(MAX_QUANTITY)):
        inputs += [
            checkout_of(literal.format(quantity))
            for literal in ("{}", "{}.0", "{}e0", '"{}"', '"00{}"')
        ]
    inputs += [checkout_of(literal) for literal in QUANTITIES]
    inputs += [
        callback("donut%20", token=TOKEN),
        Input("GET", "/product/"),
        Input("GET", "/order/"),
    ]
    return inputs * 2


# --- what may come of it


def stock_up(shop: Books) -> None:
    """Donuts, an order on its way whose token is TOKEN, and bagels with one of their own."""
    for table in ("purchase", "production_order", "idempotency_key"):
        shop.sql(f"DELETE FROM {table}")
    shop.sql(
        "INSERT IGNORE INTO product VALUES (%s, 'bagel', 'CP-2', '베이글', 1, 0, 'FF-500293')",
        (BAGEL_ID,),
    )
    shop.sql("UPDATE product SET stock = IF(slug = 'donut', %s, 0)", (STOCK,))
    order = (
        "INSERT INTO production_order (order_id, callback_token, product_id, factory_id, quantity, requester, status,"
        " requested_at) SELECT %s, %s, product_id, factory_id, 7, %s, 'published', UTC_TIMESTAMP(6) FROM product"
        " WHERE slug = %s"
    )
    shop.sql(order, (ORDER_ID, TOKEN, CANARY, "donut"))
    shop.sql(order, (BAGEL_ID, f"{CANARY}-BagelsOrdersToken", CANARY, "bagel"))


BOOKS = """
    SELECT (SELECT stock FROM product WHERE slug = 'donut'), (SELECT stock FROM product WHERE slug = 'bagel'),
        (SELECT COUNT(*) FROM purchase), (SELECT CAST(COALESCE(SUM(quantity), 0) AS SIGNED) FROM purchase),
        COUNT(*), CAST(SUM(status = 'arrived') AS SIGNED),
        (SELECT COUNT(*) FROM idempotency_key)
    FROM production_order"""


def check(input: Input, answer: Answer, *, before: tuple[int, ...], after: tuple[int, ...]) -> None:
    """before, after: what BOOKS says."""
    assert answer.headers["content-type"] == JSON
    body = json.loads(answer.body)
    if input.route is None:
        assert (answer.status, body) == (404, {"error": "Not Found"})
    else:
        assert answer.status < 500 and (*input.route, answer.status) in ANSWERS
        ANSWERS[*input.route, answer.status].validate(body)
    assert CANARY not in answer.body.decode()
    words = re.findall(r"[\w./\\-]*[A-Za-z][\w./\\-]*", body.get("message", ""), re.ASCII)
    assert WORDS.issuperset(words), words

    if input.route != ("/checkout", "post") or answer.status != 200:
        assert after == before
        assert input.route != ("/product/{slug}", "post") or answer.status == 403, (
            "no token was the order's own"
        )
        return
    # As float: int has a limit of 4,300 digits, which a field that nobody reads may exceed.
    assert input.body and CHECKOUT.is_valid(json.loads(input.body, parse_int=float))
    donuts, bagels, _, sold, _, arrived, _ = after
    assert (donuts + sold, bagels, arrived) == (STOCK, 0, 0)


def _validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.validator_for(
        {**schema, "components": DOCUMENT["components"]}, validate_formats=True
    )


def _answers() -> dict[tuple[str, str, int], Any]:
    """Path, method and status of each documented answer → what it must look like."""
    shared = DOCUMENT["components"]["responses"]
    validators = {}
    for path, operations in DOCUMENT["paths"].items():
        for method in operations.keys() - {"parameters"}:
            for status, response in operations[method]["responses"].items():
                content = (
                    shared[response["$ref"].rpartition("/")[2]] if "$ref" in response else response
                )
                schema = content["content"]["application/json"]["schema"]
                validators[path, method, int(status)] = _validator(schema)
    return validators


ANSWERS = _answers()
CHECKOUT = _validator({"$ref": "#/components/schemas/Checkout"})


def try_all(inputs: Iterator[Input], *, shop: Books, send: Callable[[Input], Answer]) -> str:
    """What was tried, in words."""
    different = set()
    statuses: Counter[int] = Counter()
    with shop.owner() as connection, connection.cursor() as cursor:

        def books() -> tuple[int, ...]:
            cursor.execute(BOOKS)
            return cursor.fetchall()[0]

        for number, input in enumerate(inputs):
            if number % 500 == 0:
                stock_up(shop)
            before = books()
            try:
                answer = send(input)
                check(input, answer, before=before, after=books())
            except Exception as error:
                raise AssertionError(f"{input} was input {number} of seed {SEED}") from error
            statuses[answer.status] += 1
            different.add((input.method, input.target, tuple(input.headers.items()), input.body))
    assert statuses.keys() == {200, 400, 403, 404, 422}, statuses
    answered = ", ".join(f"{count} × {status}" for status, count in sorted(statuses.items()))
    return f"{statuses.total()} inputs, {len(different)} of them different, seed {SEED}: {answered}"
