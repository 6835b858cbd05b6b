"""Bad input in bulk: what is sent, and the check that it reveals nothing and changes nothing.

Every run begins with the inputs at the boundaries of all limits. Of the other inputs, schemathesis
generates one half from docs/openapi.yaml. The other half is put together from values that often
break parsers and databases.

`pytest --inputs=10000` tries that many, different ones each time. With `--seed=17` in addition,
they are the same each time.
"""

import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import quote, quote_from_bytes, unquote

import hypothesis
import jsonschema_rs
import pymysql
import requests
import schemathesis
import yaml
from schemathesis import Case, GenerationMode

from common import limits
from settings import ENVIRONMENTS, PROJECT
from tests.support.books import TOTAL_STOCK, Books

OPENAPI = PROJECT / "docs" / "openapi.yaml"
DOCUMENT = yaml.safe_load(OPENAPI.read_text())
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT)
JSON = "application/json; charset=utf-8"
CANARY = "canary-7f3a"
"""Part of every text that is sent: neither a response nor a log may repeat it."""
ORDER_ID = "11111111-1111-4111-8111-111111111111"
"""The id of the order of donuts."""
TOKEN = f"{CANARY}-ThisOrdersOwnToken"
"""The callback token of the order of donuts."""
BAGEL_ID = "b0000000-0000-4000-8000-000000000000"
"""The id of the bagel, which is never in stock, and of the order of bagels."""
BAGEL_TOKEN = f"{CANARY}-BagelsOrdersToken"
STOCK = 5000
"""How many donuts there are after `reset`."""
MAX_QUANTITY = ENVIRONMENTS["local"].max_quantity
WORDS = {
    "MessageAttributeProductCnt",
    "MessageAttributeProductId",
    "MessageAttributeFactoryId",
    "MessageAttributeRequester",
    "requester",
    "Idempotency-Key",
    "ASCII",
    "JSON",
    "UTF-8",
    "KiB",
    "Not",
    "Found",
}
"""The Latin words that a message may contain. Others may come from SQL, a path or a host name."""

Operation = tuple[str, str]
"""A path of docs/openapi.yaml and a method, as in `("/checkout", "post")`."""
DOCUMENTED: set[Operation] = {
    (path, method)
    for path, operations in DOCUMENT["paths"].items()
    for method in operations.keys() - {"parameters"}
}
BOTH = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
GENERATED: dict[Operation, tuple[int, tuple[GenerationMode, ...]]] = {
    ("/checkout", "post"): (8, BOTH),
    ("/product/{slug}", "post"): (12, BOTH),
    ("/product/{slug}", "get"): (24, (GenerationMode.POSITIVE,)),
    ("/order/{order_id}", "get"): (24, (GenerationMode.POSITIVE,)),
}
"""For each operation, n and modes: in each mode, schemathesis generates 1/n of the random inputs.

A new operation also needs inputs in `assembled`.
"""


@dataclass(frozen=True)
class Input:
    """One request. target: the path and query as they are sent."""

    method: str
    target: str
    headers: dict[str, bytes] = field(default_factory=dict)
    body: bytes | None = None

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def operation(self) -> Operation | None:
        """Return the documented operation that receives the request, or None."""
        for path, method in DOCUMENTED:
            pattern = re.sub(r"{\w+}", "[^/]+", path)
            if method == self.method.lower() and re.fullmatch(pattern, unquote(self.path), re.S):
                return path, method
        return None


@dataclass(frozen=True)
class Response:
    """The response to an input. headers: their names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


# --- inputs that are put together from odd values


# fmt: off
TEXTS = [
    "", " ", "홍길동", "🍩" * 9, "\u202eabc\u202c", "\u200b\u2060\ufeff", "e\u0301" * 90,
    "𝔘𝔫𝔦", "ﷺ" * 30, "٣", "İı",
    "'; DROP TABLE purchase; -- ", '"); DELETE FROM product; #', "' OR SLEEP(9) -- ", "\\", "'",
    "`", "%' --", "\x1a",
    "%s%n%d{0}", "{0.__class__}", "{{7*7}}", "${jndi:ldap://x/a}", "$(id)", "`id`",
    "<script>alert(1)</script>",
    "../../../etc/passwd", "..\\..\\", "file:///etc/passwd", "\x00", "\x1b[2J", "\x7f", "\x85",
    "\ud800", "\udfff",
    "\ufffe", "\uffff", "\r\nSet-Cookie: a=b", "\n", "\t", "\u2028", "null", "NaN", "a" * 199,
    "홍" * 200, "b" * 9000,
]
QUANTITIES = [
    "1", "1", "2", "1000", '"5"', '"007"', "999",
    "0", "-0", "-1", "1001", "1.0", "1e2", "1E0", "1e400", "-1e400",
    "NaN", "-Infinity", "0x10", "01", "9" * 400, "9" * 5000, "null", "true", "[1]", "{}",
    '""', '" 1"', '"+1"', '"1_0"', '"٣"', '"５"', '"1\\u0000"', '"1\\n"',
    f'"{"0" * 19}1"', f'"{"0" * 20}1"', '"1 OR 1=1"', "18446744073709551617",
]
VALUES = [
    "null", "5", "false", "[]", '["a"]', '{"a": 1}', "[" * 4000 + "]" * 4000,
    '{"a":' * 2000 + "1" + "}" * 2000,
    "1e999", "1e99999999999999999999", "9" * 5000,
]
NAMES = [
    "MessageAttributeProductId", "MessageAttributeFactoryId", "requester",
    "MessageAttributeRequester",
    "extra", "__proto__", "messageattributeproductcnt", "MessageAttributeProductCnt\\u0000",
]
PRODUCTS = [
    f'"{BAGEL_ID}"', f'"{BAGEL_ID.upper()}"', f'"{BAGEL_ID} "', f'"{BAGEL_ID}\\u0000"', '"donut"',
]
ENCODINGS = ["utf-8-sig", "utf-16", "utf-32-le", "latin-1", "euc-kr", "utf-7"]
CONTENT_TYPES = [
    b"application/json", b"text/plain", b"application/octet-stream",
    b"application/x-www-form-urlencoded",
    b"multipart/form-data", b"application/json; charset=utf-16", b"", b"\xff", CANARY.encode() * 50,
]
SEGMENTS = [
    "donut", "bagel", "DONUT", "donut%20", "donut%00", "donut%0a", "%64onut", "donut;a=b", "donut'",
    "%", "%zz", "%ff%fe", "..%2f..%2fetc%2fpasswd", "..", ".", "%2e%2e", "%c0%ae%c0%ae",
    "donut%2f", "{slug}",
    "x" * 64, "x" * 65, "x" * 4000,
    ORDER_ID, ORDER_ID.replace("1", "%31"), f"{ORDER_ID}%00", "0", "-1", "null", "$default", "*",
    "donut+", "~",
]
TOKENS = [
    TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), f"{TOKEN}%00", f"%20{TOKEN}", f"{TOKEN},{TOKEN}",
    f"{TOKEN}&token=a", "",
    BAGEL_TOKEN, f"{CANARY}%27%20OR%20%271", "%ff", "%ED%99%8D", CANARY * 99,
    f"[]=&token[]={TOKEN}",
]
QUANTITY_BOUNDARIES = [
    "5", '"5"', '"005"', "5.0", "5e0", "50e-1", "1e1", "5.0000000000000001",
    "0.99999999999999999999",
    "0", "-0", "-0.0", "0.0", "1e400", "-1e400", "1e-400", "1e999999999", "1e-999999999",
    "NaN", "Infinity", "-Infinity",
    "1e99999999999999999999", "1e-99999999999999999999", "0e99999999999999999999", "9" * 5000,
    f"5.{'0' * 5000}", f"5.{'0' * 5000}1", f'"{"9" * 5000}"', f'"{"0" * 5000}5"', "null", "true",
    "[5]", "{}",
]
# fmt: on


def with_canary(rng: random.Random) -> str:
    """Return two of TEXTS with the canary between them."""
    return CANARY.join(rng.choices(TEXTS, k=2))


def json_text(rng: random.Random) -> str:
    """Return an odd text as JSON, with and without escapes; one in twenty may be malformed."""
    text = with_canary(rng)
    if rng.random() < 0.95:
        return json.dumps(text, ensure_ascii=rng.random() < 0.5)
    return f'"{text}"'


def corrupted(rng: random.Random, body: bytes) -> bytes:
    """Return the body with one of five defects."""
    position = rng.randrange(len(body) + 1)
    before, after = body[:position], body[position:]
    defects = {
        "cut off": before,
        "with bytes inserted": before + rng.randbytes(rng.randint(1, 4)) + after,
        "with a byte replaced": before + rng.randbytes(1) + after[1:],
        "sent twice": body + body,
        "padded to the limit": body.ljust(limits.BODY_BYTES + rng.choice([-1, 0, 1])),
    }
    return rng.choice(list(defects.values()))


def checkout_fields(rng: random.Random) -> list[tuple[str, str]]:
    """Return the fields of a checkout, as names and JSON values. A name may occur twice."""
    fields = [
        ("MessageAttributeProductCnt", rng.choice(QUANTITIES))
        for _ in range(rng.choice([0, 1, 1, 1, 1, 1, 2]))
    ]
    for name in rng.choices(NAMES, k=rng.randint(0, 4)):
        values = PRODUCTS if name == "MessageAttributeProductId" else VALUES
        fields.append((name, json_text(rng) if rng.random() < 0.7 else rng.choice(values)))
    rng.shuffle(fields)
    return fields


def checkout_body(rng: random.Random) -> bytes:
    """Return the body of a checkout, with odd fields, and now and then with odd bytes."""
    fields = ", ".join(f'"{name}": {value}' for name, value in checkout_fields(rng))
    text = f"{{{fields}}}"
    if rng.random() < 0.1:
        text = rng.choice(["[%s]", "%s,", '"%s"', "//\n%s", "%s\x00", "(%s)", "\x0b%s"]) % text
    encoding = rng.choice(ENCODINGS) if rng.random() < 0.1 else "utf-8"
    errors = "replace" if encoding in ("latin-1", "euc-kr") else "surrogatepass"
    body = text.encode(encoding, errors)
    return corrupted(rng, body) if rng.random() < 0.3 else body


def idempotency_key(rng: random.Random) -> bytes:
    """Return a key: one of fifty, so that some are repeated, or one with an odd length or bytes."""
    keys = [
        CANARY.encode() + b"%d" % rng.randrange(50),
        b"",
        b"k" * limits.IDEMPOTENCY_KEY,
        b"k" * (limits.IDEMPOTENCY_KEY + 1),
        b"a,b",
        b"a\tb",
        b"\xff\xfe",
        f"{CANARY} 홍길동".encode(),
        f"{CANARY}'; DROP TABLE idempotency_key; -- ".encode(),
        b"%s%00{0}",
    ]
    return rng.choice(keys)


def path_segment(rng: random.Random) -> str:
    """Return an odd segment of a path, percent-encoded as it is sent."""
    if rng.random() < 0.7:
        return rng.choice(SEGMENTS)
    text = with_canary(rng).encode("utf-8", "surrogatepass")
    return quote_from_bytes(text, safe="")[:4000]


def callback_target(rng: random.Random, segment: str) -> str:
    """Return the path and query of a callback that must be rejected.

    The token is not that of the order, or it is, and the path is that of another product.
    """
    if rng.random() < 0.1:
        return f"/product/bagel?order={ORDER_ID}&token={TOKEN}"
    path = rng.choice([f"/product/{segment}", "/product/donut", "/product/donut"])
    query = f"order={rng.choice([ORDER_ID, ORDER_ID, segment])}&token={rng.choice(TOKENS)}"
    queries = ["", "?", "?order", f"?{query}", f"?{query}", f"?{query}&order={ORDER_ID}"]
    return path + rng.choice(queries)


def method_and_target(rng: random.Random) -> tuple[str, str]:
    """Return the method, path and query of a request, most often of a checkout."""
    segment = path_segment(rng)
    other_method = rng.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
    weights = {
        ("POST", "/checkout"): 6,
        ("GET", f"/product/{segment}"): 1,
        ("GET", f"/order/{segment}"): 1,
        ("POST", callback_target(rng, segment)): 2,
        (other_method, f"/{segment}"): 1,
    }
    ((method, target),) = rng.choices(list(weights), list(weights.values()))
    if "?" not in target and rng.random() < 0.1:
        text = rng.choice(TEXTS)[:50].encode("utf-8", "surrogatepass")
        target += f"?{CANARY}={quote(text)}"
    return method, target


def odd_headers(rng: random.Random) -> dict[str, bytes]:
    headers = {}
    if rng.random() < 0.5:
        headers["content-type"] = rng.choice(CONTENT_TYPES)
    if rng.random() < 0.3:
        headers["idempotency-key"] = idempotency_key(rng)
    if rng.random() < 0.1:
        name = rng.choice(["cookie", "x-forwarded-for", "x-http-method-override", "accept"])
        headers[name] = CANARY.encode()
    return headers


def assembled(rng: random.Random) -> Input:
    """Put an input together from the values above. A few inputs are valid."""
    method, target = method_and_target(rng)
    return Input(method, target, odd_headers(rng), checkout_body(rng) if method != "GET" else None)


# --- inputs that schemathesis generates


def from_case(case: Case[Any]) -> Input:
    """Return a case of schemathesis as an input, with the canary in each text of its body."""
    if isinstance(case.body, dict):
        # Not in place: the body may be the example in DOCUMENT itself.
        case.body = {
            name: f"{CANARY}{value}"
            if isinstance(value, str) and name != "MessageAttributeProductCnt"
            else value
            for name, value in case.body.items()
        }
    request = requests.Request(**case.as_transport_kwargs(base_url="http://shop.test")).prepare()
    headers = {
        name.lower(): value if isinstance(value, bytes) else value.encode()
        for name, value in request.headers.items()
        if name.lower() in ("content-type", "idempotency-key")
    }
    body = request.body.encode() if isinstance(request.body, str) else request.body
    return Input(str(request.method), request.path_url, headers, body)


def generated(operation: Operation, mode: GenerationMode, *, seed: int, count: int) -> list[Input]:
    """Let schemathesis generate `count` inputs for an operation."""
    inputs: list[Input] = []
    if not count:
        return inputs
    path, method = operation

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

    try:
        collect()
    except hypothesis.errors.Unsatisfiable as error:
        raise AssertionError(
            f"schemathesis finds no {mode.value} input for {method.upper()} {path}: take the mode"
            " out of GENERATED in tests/support/bad_input.py"
        ) from error
    return inputs


def bad_inputs(count: int, *, seed: int) -> Iterator[Input]:
    """Yield the inputs around every limit, and `count` random ones, the same for the same seed."""
    yield from boundary_inputs()
    left = count
    for operation, (n, modes) in GENERATED.items():
        for mode in modes:
            yield from generated(operation, mode, seed=seed, count=count // n)
            left -= count // n
    rng = random.Random(seed)
    for _ in range(left):
        yield assembled(rng)


# --- inputs around the boundaries of the limits


def text(length: int, *, character: str = "x") -> str:
    """Return a text of this length, which begins with the canary if it is long enough."""
    return (CANARY + character * length)[:length] if length > len(CANARY) else character * length


def checkout_of(literal: str, **fields: str) -> Input:
    """Return a checkout. literal: the quantity, as JSON text."""
    rest = "".join(f", {json.dumps(name)}: {json.dumps(value)}" for name, value in fields.items())
    body = f'{{"MessageAttributeProductCnt": {literal}{rest}}}'
    return Input("POST", "/checkout", body=body.encode())


def callback(slug: str = "donut", *, order_id: str = ORDER_ID, token: str) -> Input:
    return Input("POST", f"/product/{slug}?order={order_id}&token={token}")


def around_product_id(length: int) -> list[Input]:
    """Return checkouts of an unknown product, and of the bagel's id between a space and zeros."""
    return [
        checkout_of("1", MessageAttributeProductId=text(length)),
        checkout_of("1", MessageAttributeProductId=f" {BAGEL_ID}{'0' * length}"[: length + 1]),
    ]


def around_slug(length: int) -> list[Input]:
    """Return a read, and a callback with the right token for the wrong path."""
    return [Input("GET", f"/product/{text(length)}"), callback(text(length), token=TOKEN)]


def around_order_id(length: int) -> list[Input]:
    """Return a read, and a callback with the right token for the wrong order id.

    If the length allows, it is the right id followed by spaces, which a comparison in SQL ignores.
    """
    order_id = text(length)
    if length > len(ORDER_ID):
        order_id = ORDER_ID + "%20" * (length - len(ORDER_ID))
    return [Input("GET", f"/order/{text(length)}"), callback(order_id=order_id, token=TOKEN)]


def around_callback_token(length: int) -> list[Input]:
    """Return callbacks whose token is the right one, cut off or followed by `x` or by spaces."""
    return [
        callback(token=f"{TOKEN}{'x' * length}"[:length]),
        callback(token=f"{TOKEN}{'%20' * (length - len(TOKEN))}"),
    ]


def around_text(length: int) -> list[Input]:
    """Return checkouts with a text of one, three or four bytes per character, padded or not.

    The limit counts characters, not bytes, and the padding is trimmed before.
    """
    names = ["requester", "MessageAttributeRequester", "MessageAttributeFactoryId"]
    texts = [text(length, character=character) for character in ("x", "홍", "🍩")]
    return [
        checkout_of("1", **{name: padding + bare + padding})
        for name in names
        for bare in texts
        for padding in ("", " \t\u3000\n")
    ]


def around_idempotency_key(length: int) -> list[Input]:
    """Return two different checkouts with the same key."""
    headers = {"idempotency-key": text(length).encode()}
    return [
        Input("POST", "/checkout", headers, checkout_of(literal).body) for literal in ("1", "2")
    ]


def around_body_bytes(length: int) -> list[Input]:
    """Return checkouts that are valid and padded, hold a Korean text, and are not JSON."""
    start = b'{"MessageAttributeProductCnt": 1, "extra": "'
    hangul = "홍" * ((length - len(start) - 2) // 3)
    bodies = [
        b'{"MessageAttributeProductCnt": 1}'.ljust(length),
        (start + f'{hangul}"}}'.encode()).ljust(length),
        start.ljust(length, b"x"),
    ]
    return [Input("POST", "/checkout", body=body) for body in bodies]


def around_quantity_digits(length: int) -> list[Input]:
    """Return checkouts of 5 and max_quantity with leading zeros, and of the largest number."""
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
"""For each limit in common/limits.py, a function from a length to inputs of that length."""


def boundaries(limit: int) -> tuple[int, ...]:
    return limit - 1, limit, limit + 1, 2 * limit


def boundary_inputs() -> list[Input]:
    """Return the inputs around every limit, then all again: a key or an order then exists."""
    inputs = [
        input
        for name, around in AROUND.items()
        for length in boundaries(getattr(limits, name))
        for input in around(length)
    ]
    inputs += [input for length in range(1, 81) for input in around_product_id(length)]
    for quantity in (1, *boundaries(MAX_QUANTITY)):
        literals = (
            f"{quantity}",
            f"{quantity}.0",
            f"{quantity}e0",
            f'"{quantity}"',
            f'"00{quantity}"',
        )
        inputs += [checkout_of(literal) for literal in literals]
    inputs += [checkout_of(literal) for literal in QUANTITY_BOUNDARIES]
    inputs += [
        callback("donut%20", token=TOKEN),
        Input("GET", "/product/"),
        Input("GET", "/order/"),
    ]
    return inputs * 2


# --- checks


def reset(shop: Books) -> None:
    """Put STOCK donuts and no bagels in stock, and leave one published order of each product."""
    shop.clear(stock=STOCK, slots=shop.slots())
    shop.add_product("bagel", product_id=BAGEL_ID, stock=0)
    order = (
        "INSERT INTO production_order"
        " (order_id, callback_token, product_id, factory_id, quantity, requester, status,"
        " requested_at)"
        " SELECT %s, %s, product_id, factory_id, 7, %s, 'published', UTC_TIMESTAMP(6)"
        " FROM product WHERE slug = %s"
    )
    shop.sql(order, (ORDER_ID, TOKEN, CANARY, "donut"))
    shop.sql(order, (BAGEL_ID, BAGEL_TOKEN, CANARY, "bagel"))


class Totals(NamedTuple):
    """The state of the shop, as far as an input can change it."""

    donuts: int
    bagels: int
    purchases: int
    sold: int
    orders: int
    arrived: int
    keys: int

    @classmethod
    def read(cls, cursor: pymysql.cursors.Cursor) -> "Totals":
        cursor.execute(f"""
            SELECT
                (SELECT {TOTAL_STOCK} FROM product WHERE slug = 'donut'),
                (SELECT {TOTAL_STOCK} FROM product WHERE slug = 'bagel'),
                (SELECT COUNT(*) FROM purchase),
                (SELECT CAST(COALESCE(SUM(quantity), 0) AS SIGNED) FROM purchase),
                COUNT(*),
                CAST(SUM(status = 'arrived') AS SIGNED),
                (SELECT COUNT(*) FROM idempotency_key)
            FROM production_order
            """)
        return cls(*cursor.fetchall()[0])


def check_effect(input: Input, response: Response, *, before: Totals, after: Totals) -> None:
    """Check that only a valid checkout changes anything, and that the books balance after it."""
    is_checkout = input.operation == ("/checkout", "post")
    if not is_checkout or response.status != 200:
        assert after == before, "the request was not a successful checkout, and changed something"
        return
    assert input.body, "a checkout without a body succeeded"
    # As float: int has a limit of 4,300 digits, which a field that no function reads may exceed.
    body = json.loads(input.body, parse_int=float)
    assert CHECKOUT.is_valid(body), "an invalid checkout succeeded"
    assert after.donuts + after.sold == STOCK, "the stock does not agree with the purchases"
    assert after.bagels == 0, "the stock of bagels has changed"
    assert after.arrived == 0, "an order has arrived"


def check_response(input: Input, response: Response) -> None:
    """Check that the response is a documented one, and that its texts reveal nothing."""
    assert response.headers["content-type"] == JSON
    body = json.loads(response.body)
    if input.operation is None:
        assert response.status == 404, "no operation has this method and path"
        assert body == {"error": "Not Found"}
    else:
        path, method = input.operation
        documented = RESPONSES.get((path, method, response.status))
        assert documented, (
            f"{response.status} is not a documented response of {method.upper()} {path}:"
            " add it to docs/openapi.yaml"
        )
        assert response.status < 500, f"the input caused {response.status}"
        documented.validate(body)
    if input.operation == ("/product/{slug}", "post"):
        assert response.status == 403, "a callback with a wrong token or path was not rejected"
    assert CANARY not in response.body.decode(), "the response repeats a text of the request"
    words = set(re.findall(r"[\w./\\-]*[A-Za-z][\w./\\-]*", body.get("message", ""), re.ASCII))
    assert words <= WORDS, f"the message has unexpected words: {words - WORDS}"


def _validator(schema: dict[str, Any]) -> Any:
    return jsonschema_rs.validator_for(
        {**schema, "components": DOCUMENT["components"]}, validate_formats=True
    )


def _documented_responses() -> dict[tuple[str, str, int], Any]:
    """Return a validator for each documented response, by path, method and status."""
    shared = DOCUMENT["components"]["responses"]
    validators = {}
    for path, method in DOCUMENTED:
        for status, response in DOCUMENT["paths"][path][method]["responses"].items():
            if "$ref" in response:
                response = shared[response["$ref"].rpartition("/")[2]]
            schema = response["content"]["application/json"]["schema"]
            validators[path, method, int(status)] = _validator(schema)
    return validators


RESPONSES = _documented_responses()
CHECKOUT = _validator({"$ref": "#/components/schemas/Checkout"})


@dataclass
class Tried:
    """The inputs that were tried so far."""

    statuses: Counter[int] = field(default_factory=Counter)
    operations: set[Operation | None] = field(default_factory=set)
    different: set[str] = field(default_factory=set)

    def add(self, input: Input, response: Response) -> None:
        self.statuses[response.status] += 1
        self.operations.add(input.operation)
        self.different.add(repr(input))

    def check_all_occurred(self) -> None:
        """Check that the inputs reached every operation, and caused every status of interest."""
        untried = DOCUMENTED - self.operations
        assert not untried, f"no bad input for {untried}: add it to `assembled` in {__name__}"
        assert self.statuses.keys() == {200, 400, 403, 404, 422}, self.statuses

    def summary(self) -> str:
        counts = [f"{count} × {status}" for status, count in sorted(self.statuses.items())]
        different = len(self.different)
        return f"{self.statuses.total()} inputs, {different} of them different: {', '.join(counts)}"


def try_all(
    inputs: Iterable[Input], *, seed: int, shop: Books, send: Callable[[Input], Response]
) -> str:
    """Send every input, check the response and the database after each, and return a summary.

    Raises AssertionError with the number of the input and the seed, or if an operation or a status
    never occurred.
    """
    tried = Tried()
    with shop.owner() as connection, connection.cursor() as cursor:
        for number, input in enumerate(inputs):
            if number % 500 == 0:
                reset(shop)
            before = Totals.read(cursor)
            try:
                response = send(input)
                check_response(input, response)
                check_effect(input, response, before=before, after=Totals.read(cursor))
            except Exception as error:
                raise AssertionError(f"{input} was input {number} of seed {seed}") from error
            tried.add(input, response)
    tried.check_all_occurred()
    return f"seed {seed}, {tried.summary()}"
