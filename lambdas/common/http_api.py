"""HTTP API events (payload format 2.0) in, answers out. Messages to clients are Korean."""

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

Event = dict[str, Any]
Response = dict[str, Any]


class BadRequest(Exception):
    """The client's mistake; its text is for the client. status: the HTTP status."""

    def __init__(self, message: str, *, status: int = 400):
        super().__init__(message)
        self.status = status


def response(status: int, body: dict[str, Any] | str, **headers: str) -> Response:
    """body: a dict, or text that already is JSON. Underscores in header names become hyphens."""
    return {
        "statusCode": status,
        "headers": {
            "content-type": "application/json; charset=utf-8",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        },
        "body": body if isinstance(body, str) else json.dumps(body, ensure_ascii=False),
    }


def endpoint(handle: Callable[[Event], Response]) -> Callable[[Event, object], Response]:
    """Make a Lambda handler that always answers: no failure reaches the client as anything but JSON of ours.

    The time of the request begins here.
    """

    @functools.wraps(handle)
    def handler(event: Event, context: object) -> Response:
        try:
            with deadline.request():
                return handle(event)
        except BadRequest as error:
            return response(error.status, {"message": str(error)})
        except DatabaseUnavailable as error:
            log.error("database unavailable", extra={"reason": str(error)})
            return response(503, {"message": "데이터베이스 연결 오류"}, retry_after="5")
        except Exception as error:
            # Its text stays out of the log: it may quote what the client sent.
            stack = traceback.format_tb(error.__traceback__)
            log.error("unexpected", extra={"reason": type(error).__name__, "stack": stack})
            return response(500, {"message": "서버 오류"})

    return handler


def json_object(event: Event) -> dict[str, Any]:
    """Parse the request's body and return the JSON object in it, its numbers as Decimal. Raises BadRequest."""
    body = event.get("body") or ""
    try:
        raw = (
            base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
        )
    except ValueError:
        raise BadRequest("요청 본문의 인코딩이 잘못되었습니다") from None
    if len(raw) > limits.BODY_BYTES:
        raise BadRequest(f"요청 본문이 {limits.BODY_BYTES // 1024} KiB를 넘습니다")
    try:
        value = json.loads(
            raw.decode(), parse_int=_number, parse_float=_number, parse_constant=_reject_constant
        )
    except UnicodeDecodeError:
        raise BadRequest("요청 본문이 UTF-8이 아닙니다") from None
    except (ValueError, RecursionError):
        raise BadRequest("요청 본문이 올바른 JSON이 아닙니다") from None
    if not isinstance(value, dict):
        raise BadRequest("요청 본문이 JSON 객체가 아닙니다")
    return value


def _number(literal: str) -> Decimal:
    """Return the number exactly, without a limit on its digits, where int and float have one or round.

    A number whose exponent is beyond Decimal's own 18 digits becomes infinite: it is out of any field's range.
    """
    try:
        return Decimal(literal)
    except InvalidOperation:
        return Decimal("Infinity")


def _reject_constant(name: str) -> None:
    """Raise ValueError: Python's parser accepts NaN and Infinity, which are not JSON."""
    raise ValueError(f"{name} is not JSON")
