"""Bring the factories and products in the database in line with the catalogue."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

import pymysql
from pymysql.constants import ER

from migrate.catalogue import Catalogue, Product

ATTRIBUTES = tuple(
    field.name
    for field in fields(Product)
    if field.name not in ("slug", "product_id", "opening_stock", "slots")
)
"""The columns that a changed entry changes."""
COLUMNS = ("slug", "product_id", *ATTRIBUTES, "slots", "in_catalogue")
Row = Mapping[str, Any]
"""A product as it is in the database: column → value."""

ATTEMPTS = 5
"""How often the catalogue is applied before it fails because customers hold locks."""
DELETE_UNUSED = """
DELETE FROM product
WHERE product_id = 'e3957c48-2e06-4d5e-8404-4ff32e8b8f9f' AND stock = 10
  AND NOT EXISTS (SELECT 1 FROM stock_entry) AND NOT EXISTS (SELECT 1 FROM purchase)
  AND NOT EXISTS (SELECT 1 FROM production_order)
"""
"""Deletes the product that migration 0008 inserts, unless somebody has used it.

The catalogue inserts it again, with the declared opening stock.
"""
WITHOUT_ENTRY = """
SELECT product_id FROM product
WHERE NOT EXISTS (SELECT 1 FROM stock_entry WHERE stock_entry.product_id = product.product_id)
"""
OPENING_ENTRY = """
INSERT INTO stock_entry (product_id, kind, amount, reason, recorded_by, recorded_at)
SELECT product_id, 'opening',
       stock
       + (SELECT COALESCE(SUM(quantity), 0) FROM purchase WHERE purchase.product_id = product.product_id)
       - (SELECT COALESCE(SUM(quantity), 0) FROM production_order
          WHERE production_order.product_id = product.product_id AND status = 'arrived'),
       'stock when the books began', 'migrate', UTC_TIMESTAMP(6)
FROM product WHERE product_id = %s
"""
"""Records what a product from before release 1.1 began with, so that its books balance.

The shop may be selling: one statement reads one snapshot, and each transaction keeps the balance.
"""


class Conflict(Exception):
    """The catalogue contradicts the database. The text holds a sentence for each contradiction."""


class Busy(Exception):
    """Customers held a product's lock for too long."""


def apply(cursor: pymysql.cursors.Cursor, catalogue: Catalogue) -> list[str]:
    """Make the database's products those of the catalogue, in one transaction.

    A new product gets its opening stock, and an entry in the books. The stock of the others does
    not change; it moves between slots if the number of slots differs from the declared one. A
    product that is not in the catalogue is not sold any more, and keeps its stock.

    Returns the slugs of the products that changed. Raises Conflict, or Busy if customers have held
    a product's lock for too long. Then nothing has changed.
    """
    for _ in range(ATTEMPTS):
        cursor.execute("START TRANSACTION")
        try:
            changed = _apply(cursor, catalogue)
            cursor.execute("COMMIT")
            return changed
        except BaseException as error:
            cursor.execute("ROLLBACK")
            if not _is_about_a_lock(error):
                raise
    raise Busy("The products are locked by customers, and were not changed: deploy again.")


def _is_about_a_lock(error: BaseException) -> bool:
    is_operational = isinstance(error, pymysql.OperationalError)
    return is_operational and error.args[0] in (ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK)


def _apply(cursor: pymysql.cursors.Cursor, catalogue: Catalogue) -> list[str]:
    _open_books(cursor)
    cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM product")
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in cursor.fetchall()]
    if conflicts := list(_conflicts(catalogue.products, rows)):
        raise Conflict(" ".join(conflicts))
    cursor.execute("SELECT factory_id, name FROM factory")
    factory_names = dict(cursor.fetchall())
    for factory in catalogue.factories:
        if factory_names.get(factory.factory_id) != factory.name:
            cursor.execute(
                "INSERT INTO factory (factory_id, name) VALUES (%s, %s)"
                " ON DUPLICATE KEY UPDATE name = VALUES(name)",
                (factory.factory_id, factory.name),
            )
    existing = {row["slug"]: row for row in rows}
    changed = [
        product.slug
        for product in catalogue.products
        if _write(cursor, product, existing.get(product.slug))
    ]
    removed = existing.keys() - {product.slug for product in catalogue.products}
    for slug in sorted(slug for slug in removed if existing[slug]["in_catalogue"]):
        cursor.execute("UPDATE product SET in_catalogue = FALSE WHERE slug = %s", (slug,))
        changed.append(slug)
    return changed


def _open_books(cursor: pymysql.cursors.Cursor) -> None:
    """Record an opening entry for each product that has no entry in the books."""
    if cursor.execute(WITHOUT_ENTRY):
        cursor.execute(DELETE_UNUSED)
        cursor.execute(WITHOUT_ENTRY)
        for (product_id,) in cursor.fetchall():
            cursor.execute(OPENING_ENTRY, (product_id,))


def _conflicts(products: Sequence[Product], rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence for each product whose id, slug or SKU can't be as declared."""
    by_slug, by_id, by_sku = (
        {row[column]: row for row in rows} for column in ("slug", "product_id", "sku")
    )
    declared = {product.slug for product in products}
    for product in products:
        if (row := by_slug.get(product.slug)) and row["product_id"] != product.product_id:
            existing = row["product_id"]
            yield (
                f"The product {product.slug} has the id {existing} in this database, and an id"
                f' can\'t change: declare product_id = "{existing}", or use a new slug.'
            )
        elif (row := by_id.get(product.product_id)) and row["slug"] != product.slug:
            existing = row["slug"]
            yield (
                f"The product with the id {product.product_id} has the slug {existing} in this"
                f' database, and a slug can\'t change: declare slug = "{existing}", or use a new id.'
            )
        elif (row := by_sku.get(product.sku)) and row["slug"] != product.slug:
            existing = row["slug"]
            yield (
                f"The SKU {product.sku} of the product {product.slug} belongs to the product"
                f" {existing} in this database."
            )
            if existing not in declared:
                yield (
                    f"A slug can't change: if {product.slug} is the product that was {existing},"
                    f' declare slug = "{existing}" again. If it is a new one, use another SKU.'
                )
            else:
                yield f"Use another SKU for {product.slug}."


def _write(cursor: pymysql.cursors.Cursor, product: Product, row: Row | None) -> bool:
    """Insert or update one product, and return whether anything changed.

    A row that is as declared is not written, because buyers would wait for its lock.
    """
    attributes = {name: getattr(product, name) for name in ATTRIBUTES}
    if row is None:
        _insert(cursor, product, attributes)
        changed, slots = attributes, 1
    else:
        declared = attributes | {"in_catalogue": True}
        changed = {name: value for name, value in declared.items() if row[name] != value}
        slots = row["slots"]
        if changed:
            cursor.execute(
                f"UPDATE product SET {', '.join(f'{name} = %s' for name in changed)}"
                " WHERE product_id = %s",
                (*changed.values(), product.product_id),
            )
    if slots != product.slots:
        cursor.execute(
            "CALL change_stock(%s, 0, %s, @changed, @stock)", (product.product_id, product.slots)
        )
    return bool(changed) or slots != product.slots


def _insert(
    cursor: pymysql.cursors.Cursor, product: Product, attributes: Mapping[str, object]
) -> None:
    """Insert a product with its opening stock in one slot, and the entry in the books."""
    row = {
        "slug": product.slug,
        "product_id": product.product_id,
        "stock": product.opening_stock,
        **attributes,
    }
    cursor.execute(
        f"INSERT INTO product ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})",
        tuple(row.values()),
    )
    cursor.execute(
        "INSERT INTO stock_entry (product_id, kind, amount, reason, recorded_by, recorded_at)"
        " VALUES (%s, 'opening', %s, 'new in the catalogue', 'migrate', UTC_TIMESTAMP(6))",
        (product.product_id, product.opening_stock),
    )
