"""Serve the deployed HTTP API at the root of a port of its own, as API Gateway does.

This builds the event and calls the function itself. Through ministack's own route, each path would
hold the API's id, some paths would reach ministack's own pages, OPTIONS requests would not reach
the function, bodies that are not UTF-8 would be changed, and clients would see the text of
exceptions.
"""

import base64
import binascii
import json
import logging
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

from ministack.core.concurrency import run_reentrant
from ministack.core.sigv4 import decode_header_value
from ministack.services import apigateway, lambda_svc

from local.emulator import concurrency

STAGE = "$default"
MAX_BODY = 10 * 1024 * 1024
HOP_BY_HOP = {
    "connection",
    "content-length",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}

PREFLIGHT_HEADERS = {
    b"access-control-allow-methods": "allowMethods",
    b"access-control-allow-headers": "allowHeaders",
    b"access-control-max-age": "maxAge",
}
CORS_HEADERS = {b"access-control-expose-headers": "exposeHeaders"}
"""The headers for pages of other origins, and the names of their values in the configuration."""

log = logging.getLogger("http_api")

Headers = list[tuple[bytes, bytes]]
Response = tuple[int, Headers, bytes]
"""Status, headers and body."""


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[Any]],
    send: Callable[[Any], Awaitable[None]],
) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close"})
        return
    try:
        body = await _read_body(receive)
        status, headers, content = (
            _gateway_response(413, "Request Entity Too Large")
            if body is None
            else await _call_api(scope, body)
        )
    except ConnectionError:
        return
    except Exception:
        log.exception("%s %s", scope["method"], scope["path"])
        status, headers, content = _gateway_response(500, "Internal Server Error")
    headers += [
        *_cors_headers(scope),
        (b"date", formatdate(usegmt=True).encode()),
        *([] if status == 204 else [(b"content-length", str(len(content)).encode())]),
        (b"apigw-requestid", base64.b64encode(os.urandom(11))),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send(
        {"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else content}
    )


async def _read_body(receive: Callable[[], Awaitable[Any]]) -> bytes | None:
    """Return the whole body, or None if it is larger than API Gateway accepts."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        if len(body) <= MAX_BODY:
            body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body) if len(body) <= MAX_BODY else None


def _api() -> dict[str, Any] | None:
    """Return the deployed HTTP API, or None before the first deployment."""
    return next((api for api in apigateway._apis.values() if api["protocolType"] == "HTTP"), None)


def _cors_headers(scope: dict[str, Any]) -> Headers:
    """Return the headers that tell a browser what the page of an allowed origin may do.

    A request without an allowed Origin gets none, and neither does an OPTIONS request that is no
    preflight, since it asks for no method.
    """
    cors = (_api() or {}).get("corsConfiguration", {})
    given = dict(scope["headers"])
    origin = given.get(b"origin", b"")
    is_options = scope["method"] == "OPTIONS"
    if origin.decode("latin-1") not in cors.get("allowOrigins", ()) or (
        is_options and b"access-control-request-method" not in given
    ):
        return []
    configured = {
        header: cors[name]
        for header, name in (PREFLIGHT_HEADERS if is_options else CORS_HEADERS).items()
        if name in cors
    }
    return [
        (b"access-control-allow-origin", origin),
        *(
            (header, (",".join(value) if isinstance(value, list) else str(value)).encode())
            for header, value in configured.items()
        ),
    ]


async def _call_api(scope: dict[str, Any], body: bytes) -> Response:
    """Call the function of the request's route, and return its response."""
    api = _api()
    if api is None:
        return _gateway_response(503, "Service Unavailable")
    if api.get("corsConfiguration") and scope["method"] == "OPTIONS":
        return 204, [], b""
    api_id = api["apiId"]
    path = _path(scope)
    route_path = "/" + path.lstrip("/")
    route = apigateway._match_route(api_id, scope["method"], route_path)
    if route is None:
        return _gateway_response(404, "Not Found")
    integration = apigateway._integrations[api_id][route["target"].rpartition("/")[2]]
    reference = apigateway._extract_lambda_ref_from_integration_uri(integration["integrationUri"])
    function, config, _ = lambda_svc._get_func_record_for_ref(reference)
    if config is None:
        return _gateway_response(500, "Internal Server Error")
    event = _event(
        scope, body, api_id=api_id, path=path, route_path=route_path, route_key=route["routeKey"]
    )
    record = lambda_svc._execution_record_for_config(function, config)
    concurrency.patience.set(concurrency.REQUEST_SECONDS)
    result = await run_reentrant(lambda_svc._execute_function_with_config_scope, record, event)
    if result.get("throttle"):
        return _gateway_response(503, "Service Unavailable")
    if result.get("error"):
        return _gateway_response(500, "Internal Server Error")
    return _function_response(result.get("body"))


def _path(scope: dict[str, Any]) -> str:
    """Return the path of the request's target, decoded as API Gateway does.

    The target may be a whole URL, or `*`.
    """
    target = scope["raw_path"].decode("latin-1")
    if "://" in target.partition("/")[0] + "//":
        target = target.partition("://")[2].partition("/")[2]
    return str(apigateway.decode_http_api_path(target if target.startswith("/") else f"/{target}"))


def _event(
    scope: dict[str, Any], body: bytes, *, api_id: str, path: str, route_path: str, route_key: str
) -> dict[str, Any]:
    """Return the event for the function, in payload format 2.0."""
    query = scope["query_string"].decode("latin-1")
    client = (scope.get("client") or ("127.0.0.1",))[0]
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), decode_header_value(value)
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    cookies = [cookie.strip() for cookie in headers.pop("cookie", "").split(";") if cookie.strip()]
    host = headers.get("host", "")
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": route_key,
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"content-length": "0"} | headers | _gateway_headers(headers, client),
        "requestContext": {
            "accountId": os.environ["MINISTACK_ACCOUNT_ID"],
            "apiId": api_id,
            "domainName": host,
            "domainPrefix": host.partition(".")[0],
            "http": {
                "method": scope["method"],
                "path": path,
                "protocol": f"HTTP/{scope['http_version']}",
                "sourceIp": client,
                "userAgent": headers.get("user-agent", ""),
            },
            "requestId": str(uuid.uuid4()),
            "routeKey": route_key,
            "stage": STAGE,
            "time": time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime()),
            "timeEpoch": int(time.time() * 1000),
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if query:
        values: dict[str, str] = {}
        for name, text in parse_qsl(query, keep_blank_values=True):
            values[name] = f"{values[name]},{text}" if name in values else text
        event["queryStringParameters"] = values
    if parameters := apigateway._extract_path_params(route_key.partition(" ")[2], route_path):
        event["pathParameters"] = parameters
    if body:
        event["body"], event["isBase64Encoded"] = _event_body(body, headers.get("content-type"))
    return event


def _gateway_headers(headers: dict[str, str], client: str) -> dict[str, str]:
    """Return the headers that API Gateway sets.

    Of the client's own values it keeps only the trace id, and the addresses in `x-forwarded-for`.
    """
    forwarded = headers.get("x-forwarded-for")
    return {
        "x-amzn-trace-id": headers.get("x-amzn-trace-id")
        or f"Root=1-{int(time.time()):08x}-{os.urandom(12).hex()}",
        "x-forwarded-for": f"{forwarded}, {client}" if forwarded else client,
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
    }


def _event_body(body: bytes, content_type: str | None) -> tuple[str, bool]:
    """Return the body for the event, and whether it is base64.

    It is text only if the content type says so and the bytes are valid UTF-8.
    """
    if apigateway._v2_request_body_is_text(content_type):
        try:
            return body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(body).decode(), True


def _function_response(result: Any) -> Response:
    """Turn a function's result into a response.

    A result without a status code is the body of a 200.
    """
    if isinstance(result, str) and result.lstrip().startswith("{"):
        result = json.loads(result)
    if not isinstance(result, dict) or "statusCode" not in result:
        result = {"statusCode": 200, "body": json.dumps(result)}
    text = result.get("body") or ""
    try:
        content = base64.b64decode(text) if result.get("isBase64Encoded") else text.encode()
    except (binascii.Error, AttributeError):
        return _gateway_response(500, "Internal Server Error")
    given = {str(name).lower(): str(value) for name, value in (result.get("headers") or {}).items()}
    headers = [
        (name.encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in ({"content-type": "text/plain; charset=utf-8"} | given).items()
        if name not in HOP_BY_HOP
    ]
    headers += [
        (b"set-cookie", cookie.encode("latin-1", "replace"))
        for cookie in result.get("cookies") or ()
    ]
    return int(result["statusCode"]), headers, content


def _gateway_response(status: int, message: str) -> Response:
    """Return a response that API Gateway itself makes."""
    return (
        status,
        [(b"content-type", b"application/json")],
        json.dumps({"message": message}).encode(),
    )
