"""Every failure of a handler becomes a response, and none puts a client's data into the log."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from common import http_api
from common.database import DatabaseUnavailable
from tests.support.fakes import failing

CANARY = "홍길동-canary"


def call(error: Exception) -> tuple[int, dict[str, str], dict[str, Any]]:
    """Return the status, the headers and the body of the response of a handler that raises."""
    handler = http_api.endpoint(failing(error))
    response = handler({"body": CANARY, "headers": {"idempotency-key": CANARY}}, None)
    return response["statusCode"], response["headers"], json.loads(response["body"])


def test_log_records_leave_out_what_no_line_shows() -> None:
    record = logging.getLogger().makeRecord("shop", logging.INFO, "", 0, "sold", (), None)
    assert {record.thread, record.process, record.processName} == {None}


def test_bad_request_returns_its_status_and_text() -> None:
    status, _, body = call(http_api.BadRequest("같은 키", status=422))
    assert status == 422
    assert body == {"message": "같은 키"}


def test_unavailable_database_returns_503_with_retry_after() -> None:
    status, headers, body = call(DatabaseUnavailable("OperationalError 2003"))
    assert status == 503
    assert int(headers["retry-after"]) > 0
    assert body == {"message": "데이터베이스 연결 오류"}


def test_unavailable_database_is_logged_with_its_code(logged: Callable[[], str]) -> None:
    call(DatabaseUnavailable("OperationalError 2003"))
    assert "database unavailable" in logged()
    assert "OperationalError 2003" in logged()


def quoting_error() -> Exception:
    """Return an error that quotes a client, and whose cause and context do so, too."""
    error = ValueError(f"invalid: {CANARY}")
    error.__cause__ = KeyError(CANARY)
    error.__context__ = RuntimeError(CANARY)
    error.add_note(CANARY)
    return error


def test_unexpected_error_returns_500_without_its_text() -> None:
    status, _, body = call(quoting_error())
    assert status == 500
    assert body == {"message": "서버 오류"}


def test_unexpected_error_is_logged_by_type_and_stack_only(
    logged: Callable[[], str], caplog: pytest.LogCaptureFixture
) -> None:
    """The error's text may quote what the client sent."""
    call(quoting_error())
    (record,) = caplog.records
    assert record.getMessage() == "unexpected error"
    assert vars(record)["reason"] == "ValueError"
    assert "in fail" in "".join(vars(record)["stack"]), (
        "the stack does not show where it was raised"
    )
    assert CANARY not in logged()
