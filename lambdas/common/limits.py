"""Every limit on what a request may contain. Lengths are in characters, unless said otherwise.

Tests compare the widths of the SQL columns and docs/openapi.yaml with these limits.
"""

import re

PRODUCT_ID = 36
SLUG = 64
ORDER_ID = 36
OPERATION_ID = 36
CALLBACK_TOKEN = 64
TEXT = 200
"""A requester, a factory id or the reason of a changed stock, after trimming."""
IDEMPOTENCY_KEY = 255
BODY_BYTES = 16 * 1024
"""Bytes, after Base64 has been decoded."""
QUANTITY_DIGITS = 20
"""A quantity that is sent as a string, including leading zeros."""
PIECES = 1_000_000_000
"""What an operator may have counted, or add to a stock at once."""

_KEY = re.compile(rf"[ -~]{{1,{IDEMPOTENCY_KEY}}}")
_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]+")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def is_idempotency_key(text: str) -> bool:
    """Return whether the text is 1 to IDEMPOTENCY_KEY printable ASCII characters."""
    return _KEY.fullmatch(text) is not None


def is_identifier(text: str, *, max_length: int) -> bool:
    """Return whether the text is 1 to max_length ASCII letters, digits, hyphens or underscores.

    Anything else must be rejected before it reaches the database, where a value longer than the
    procedure's parameter is an error, and a comparison ignores trailing spaces.
    """
    return len(text) <= max_length and _IDENTIFIER.fullmatch(text) is not None


def is_uuid(text: str) -> bool:
    """Return whether the text is a UUID in lower case, as the shop makes them."""
    return _UUID.fullmatch(text) is not None
