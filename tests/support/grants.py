"""The grants of the functions' database users, written by hand for review.

Tests compare the server's grants with them.
"""

import re
from collections.abc import Iterable

GRANTS = {
    "shop_sales": [
        "EXECUTE ON PROCEDURE cancel_checkout",
        "EXECUTE ON PROCEDURE checkout",
        "EXECUTE ON PROCEDURE mark_published",
        "SELECT (arrived_at, order_id, product_id, published_at, quantity, requested_at, status) ON production_order",
        "SELECT (factory_id, in_catalogue, name, price, product_id, sku, slots, slug, stock) ON product",
        "SELECT (product_id, stock) ON product_slot",
    ],
    "shop_restock": [
        "EXECUTE ON PROCEDURE restock",
    ],
    "shop_operate": [
        "EXECUTE ON PROCEDURE correct_stock",
        "EXECUTE ON PROCEDURE remind_stuck",
        "SELECT (amount, product_id) ON stock_entry",
        "SELECT (arrived_at, attempts, next_attempt_at, order_id, product_id, publications, published_at,"
        " quantity, reminded_by, requested_at, requester_blanked, status, stuck_at) ON production_order",
        "SELECT (operation_id, recorded_at) ON operation",
        "SELECT (product_id, quantity) ON purchase",
        "SELECT (product_id, slug, stock) ON product",
        "SELECT (product_id, stock) ON product_slot",
    ],
    "shop_relay": [
        "EXECUTE ON PROCEDURE blank_orders",
        "EXECUTE ON PROCEDURE blank_purchases",
        "EXECUTE ON PROCEDURE claim_orders",
        "EXECUTE ON PROCEDURE mark_orphans",
        "EXECUTE ON PROCEDURE mark_published",
        "EXECUTE ON PROCEDURE mark_stuck",
        "EXECUTE ON PROCEDURE purge_checkout_outcomes",
        "EXECUTE ON PROCEDURE purge_idempotency_keys",
        "SELECT (in_catalogue, product_id, slug, stock) ON product",
        "SELECT (product_id, stock) ON product_slot",
        "SELECT (requested_at, status) ON production_order",
    ],
}
"""User → its grants on the schema `shop`. Each user also has USAGE, which lets it log in over TLS."""
GRANTED_TO_NOBODY = {
    "change_stock": "other procedures and the migration call it, in their own transactions",
}
"""Procedure → why no function may call it."""


def columns_of(grants: Iterable[str]) -> set[tuple[str, str]]:
    """Return the table and the column of everything that the grants let a user read."""
    matches = [re.fullmatch(r"SELECT \((.+)\) ON (\w+)", grant) for grant in grants]
    return {(match[2], column) for match in matches if match for column in match[1].split(", ")}


def readable(lines: list[str]) -> list[str]:
    """Return the lines of SHOW GRANTS in the form of GRANTS, without the USAGE that each user has.

    A line of another form, for example of a role, is returned as it is.
    """
    grants = []
    for line in lines:
        match = re.fullmatch(
            r"GRANT (.+?) TO `\w+`@`%`( IDENTIFIED .+?)?( REQUIRE SSL)?( WITH GRANT OPTION)?", line
        )
        if not match:
            grants.append(line)
        elif (match[1], match[3], match[4]) != ("USAGE ON *.*", " REQUIRE SSL", None):
            text = re.sub(
                r"\((.+?)\)",
                lambda columns: f"({', '.join(sorted(columns[1].split(', ')))})",
                match[1],
            )
            grants.append(text.replace("`", "").replace(" shop.", " ") + (match[4] or ""))
    return sorted(grants)
