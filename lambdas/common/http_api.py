"""Requests and responses of API Gateway's HTTP API, payload format 2.0.

Messages to clients are in Korean.
"""

import base64
import functools
import json
import logging
import traceback
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

from common import deadline, limits
from common.database import DatabaseUnavailable

log = logging.getLogger(__name__)
# A log line of Lambda shows neither the place in the code nor the thread or process.
logging._srcfile = None  # documented in the HOWTO on logging, "Optimization"
logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False

Event = dict[str, Any]
Response = dict[str, Any]


class BadRequest(Exception):
    """A request that is rejected. The exception's text is the message to the client."""

    def __init__(self, message: str, *, status: int = 400):
        super().__init__(message)
        self.status = status


def response(status: int, body: dict[str, Any] | str, **headers: str) -> Response:
    """Return a JSON response.

    body: a dict, or a string that is JSON already. Underscores in header names become hyphens.
    """
    return {
        "statusCode": status,
        "headers": {
            "content-type": "application/json; charset=utf-8",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        "body": body if isinstance(body, str) else ENCODER.encode(body),
    }


def order_named_by(event: Event) -> dict[str, object]:
    """Return the id of the production order that a request is about, as a field of a log line.

    Anything that is not a UUID, as `sales` makes them, such as a token in its place, is left out.
    """
    path, query = event.get("pathParameters") or {}, event.get("queryStringParameters") or {}
    order_id = path.get("order_id") or query.get("order") or ""
    return {"order_id": order_id} if limits.is_uuid(order_id) else {}


def endpoint(handle: Callable[[Event], Response]) -> Callable[[Event, object], Response]:
    """Decorate a function so that it is a Lambda handler that returns a response on every failure.

    The time of the request begins when the handler is called.
    """

    @functools.wraps(handle)
    def handler(event: Event, context: object) -> Response:
        try:
            with deadline.request():
                return handle(event)
        except BadRequest as error:
            return response(error.status, {"message": str(error)})
        except DatabaseUnavailable as error:
            about = order_named_by(event)
            log.error("database unavailable", extra={**about, "reason": str(error)})
            return response(503, {"message": "데이터베이스 연결 오류"}, retry_after="5")
        except Exception as error:
            # The exception's text may quote what the client sent, so it is not logged.
            stack = traceback.format_tb(error.__traceback__)
            about = order_named_by(event)
            reason = type(error).__name__
            log.error("unexpected error", extra={**about, "reason": reason, "stack": stack})
            return response(500, {"message": "서버 오류"})

    return handler


def json_object(event: Event) -> dict[str, Any]:
    """Return the JSON object in the request's body, with its numbers as Decimal.

    Raises BadRequest.
    """
    body, is_base64 = event.get("body") or "", event.get("isBase64Encoded")
    try:
        raw = base64.b64decode(body, validate=True) if is_base64 else body.encode()
    except ValueError:
        raise BadRequest("요청 본문의 인코딩이 잘못되었습니다") from None
    if len(raw) > limits.BODY_BYTES:
        raise BadRequest(f"요청 본문이 {limits.BODY_BYTES // 1024} KiB를 넘습니다")
    try:
        value = DECODER.decode(raw.decode())
    except UnicodeDecodeError:
        raise BadRequest("요청 본문이 UTF-8이 아닙니다") from None
    except (ValueError, RecursionError):
        raise BadRequest("요청 본문이 올바른 JSON이 아닙니다") from None
    if not isinstance(value, dict):
        raise BadRequest("요청 본문이 JSON 객체가 아닙니다")
    return value


def _number(literal: str) -> Decimal:
    """Return the number exactly: float would round it, and int accepts only 4,300 digits.

    A number whose exponent has more than the 18 digits that Decimal accepts becomes infinite, which
    is out of range for every field.
    """
    try:
        return Decimal(literal)
    except InvalidOperation:
        return Decimal("Infinity")


def _reject_constant(name: str) -> None:
    """Reject NaN and Infinity, which Python's parser accepts although they are not JSON."""
    raise ValueError(f"{name} is not JSON")


# json.loads and json.dumps would create a decoder and an encoder for each request.
DECODER = json.JSONDecoder(parse_int=_number, parse_float=_number, parse_constant=_reject_constant)
ENCODER = json.JSONEncoder(ensure_ascii=False)
