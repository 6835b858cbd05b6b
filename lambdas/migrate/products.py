"""Bring the factories and products in the database in line with the catalogue."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pymysql

from migrate.catalogue import Catalogue, Product

COLUMNS = ("slug", "product_id", "sku", "name", "price", "factory_id", "slots", "in_catalogue")


class Conflict(Exception):
    """The catalogue contradicts the database. The text holds a sentence for each contradiction."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A product as it is in the database."""

    slug: str
    product_id: str
    sku: str
    name: str
    price: int
    factory_id: str
    slots: int
    in_catalogue: bool


def apply(cursor: pymysql.cursors.Cursor, catalogue: Catalogue) -> list[str]:
    """Make the database's products those of the catalogue, in one transaction.

    A new product gets its opening stock, and an entry in the books. The stock of the others does
    not change; it moves between slots if the number of slots differs from the declared one. A
    product that is not in the catalogue is not sold any more, and keeps its stock.

    Returns the slugs of the products that changed. Raises Conflict before anything has changed.
    """
    cursor.execute("START TRANSACTION")
    try:
        changed = _apply(cursor, catalogue)
    except BaseException:
        cursor.execute("ROLLBACK")
        raise
    cursor.execute("COMMIT")
    return changed


def _apply(cursor: pymysql.cursors.Cursor, catalogue: Catalogue) -> list[str]:
    cursor.execute(f"SELECT {', '.join(COLUMNS)} FROM product")
    rows = [Row(**dict(zip(COLUMNS, row, strict=True))) for row in cursor.fetchall()]
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
    existing = {row.slug: row for row in rows}
    changed = [
        product.slug
        for product in catalogue.products
        if _update(cursor, product, existing.get(product.slug))
    ]
    removed = existing.keys() - {product.slug for product in catalogue.products}
    for slug in sorted(slug for slug in removed if existing[slug].in_catalogue):
        cursor.execute("UPDATE product SET in_catalogue = FALSE WHERE slug = %s", (slug,))
        changed.append(slug)
    return changed


def _conflicts(products: Sequence[Product], rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence for each product whose id, slug or SKU can't be as declared."""
    by_slug = {row.slug: row for row in rows}
    by_id = {row.product_id: row for row in rows}
    by_sku = {row.sku: row for row in rows}
    for product in products:
        if (row := by_slug.get(product.slug)) and row.product_id != product.product_id:
            yield (
                f"The product {product.slug} has the id {row.product_id} in this database, and an id"
                f' can\'t change: declare product_id = "{row.product_id}", or use a new slug.'
            )
        elif (row := by_id.get(product.product_id)) and row.slug != product.slug:
            yield (
                f"The product with the id {product.product_id} has the slug {row.slug} in this"
                f' database, and a slug can\'t change: declare slug = "{row.slug}", or use a new id.'
            )
        elif (row := by_sku.get(product.sku)) and row.slug != product.slug:
            yield (
                f"The SKU {product.sku} of {product.slug} is that of {row.slug} in this database:"
                " use another one."
            )


def _update(cursor: pymysql.cursors.Cursor, product: Product, row: Row | None) -> bool:
    """Insert or update one product, and return whether anything changed.

    A row that is as declared is not written, because buyers would wait for its lock.
    """
    if row is None:
        cursor.execute(
            "INSERT INTO product (product_id, slug, sku, name, price, stock, factory_id)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (
                product.product_id,
                product.slug,
                product.sku,
                product.name,
                product.price,
                product.opening_stock,
                product.factory_id,
            ),
        )
        cursor.execute(
            "INSERT INTO stock_entry (product_id, kind, amount, reason, recorded_by, recorded_at)"
            " VALUES (%s, 'opening', %s, 'new in the catalogue', 'migrate', UTC_TIMESTAMP(6))",
            (product.product_id, product.opening_stock),
        )
    declared = (product.sku, product.name, product.price, product.factory_id)
    is_as_declared = row is None or (
        row.in_catalogue and (row.sku, row.name, row.price, row.factory_id) == declared
    )
    if not is_as_declared:
        cursor.execute(
            "UPDATE product SET sku = %s, name = %s, price = %s, factory_id = %s, in_catalogue = TRUE"
            " WHERE product_id = %s",
            (*declared, product.product_id),
        )
    slots = row.slots if row else 1
    if slots != product.slots:
        cursor.execute(
            "CALL change_stock(%s, 0, %s, @changed, @stock)", (product.product_id, product.slots)
        )
    return row is None or not is_as_declared or slots != product.slots
