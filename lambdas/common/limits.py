"""Every limit on what a request may hold. The SQL column widths and docs/openapi.yaml are compared with it."""

import re

PRODUCT_ID = 36
SLUG = 64
ORDER_ID = 36
CALLBACK_TOKEN = 64
TEXT = 200
"""Characters of a requester or a factory id, after trimming."""
IDEMPOTENCY_KEY = 255
BODY_BYTES = 16 * 1024
"""After Base64 has been decoded."""
QUANTITY_DIGITS = 20
"""Digits of a quantity that is sent as a string, leading zeros included."""

_IDENTIFIER = re.compile(r"[A-Za-z0-9_-]+")


def is_identifier(text: str, *, max_length: int) -> bool:
    """Return whether the text is 1 to max_length ASCII letters, digits, hyphens or underscores.

    Anything else is rejected before it reaches the database. A procedure's parameter that is too narrow for its value
    is an error there, and SQL's comparison ignores trailing spaces.
    """
    return len(text) <= max_length and _IDENTIFIER.fullmatch(text) is not None
