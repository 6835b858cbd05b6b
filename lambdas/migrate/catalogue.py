"""Read and check catalogue.toml, which declares the factories and products of the shop.

The CDK reads the catalogue, too, so that a mistake stops the synthesis.
"""

import tomllib
import unicodedata
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import limits

FILE = Path(__file__).with_name("catalogue.toml")
NAMESPACE = uuid.UUID("16c2288d-3a04-4f9a-9761-6171e8228cb6")
"""A product without a product_id gets the UUID that is made from this one and its slug."""
MAX_NUMBER = 10**12
"""The highest price and the largest opening stock."""
CONTROL = ("Cc", "Zl", "Zp")
"""Unicode categories of control characters and line separators."""
MAX_SLOTS = 64
SKU = 64
"""The longest SKU, in characters."""


class CatalogueInvalid(ValueError):
    """The catalogue has mistakes. The text holds a sentence for each."""


@dataclass(frozen=True, kw_only=True)
class Factory:
    """A factory that makes products."""

    factory_id: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Product:
    """A product that customers can buy. price: in South Korean won."""

    slug: str
    product_id: str
    sku: str
    name: str
    price: int
    factory_id: str
    opening_stock: int
    slots: int


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """What the shop sells, and who makes it."""

    factories: tuple[Factory, ...]
    products: tuple[Product, ...]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What a value must be."""

    is_valid: Callable[[object], bool]
    description: str
    max_length: int | None = None
    """Of a text, in characters: no more than the column of the same name holds."""


def identifier(max_length: int) -> Rule:
    """Return the rule for a value that is part of a URL or of a message's attribute."""
    return Rule(
        is_valid=lambda value: (
            isinstance(value, str) and limits.is_identifier(value, max_length=max_length)
        ),
        description=f"1 to {max_length} ASCII letters, digits, hyphens or underscores",
        max_length=max_length,
    )


def line(max_length: int) -> Rule:
    """Return the rule for a text that people read."""
    return Rule(
        is_valid=lambda value: (
            isinstance(value, str)
            and 1 <= len(value) <= max_length
            and not any(unicodedata.category(character) in CONTROL for character in value)
            and value == value.strip()
        ),
        description=f"1 to {max_length} characters on one line, without spaces around them",
        max_length=max_length,
    )


def whole_number(low: int, high: int) -> Rule:
    return Rule(
        is_valid=lambda value: type(value) is int and low <= value <= high,
        description=f"a whole number from {low:,} to {high:,}",
    )


PRODUCT_ID = Rule(
    is_valid=lambda value: isinstance(value, str) and limits.is_uuid(value),
    description="a UUID in lower case",
    max_length=limits.PRODUCT_ID,
)
FACTORY: Mapping[str, Rule] = {"factory_id": identifier(limits.TEXT), "name": line(limits.TEXT)}
PRODUCT: Mapping[str, Rule] = {
    "slug": identifier(limits.SLUG),
    "product_id": PRODUCT_ID,
    "sku": identifier(SKU),
    "name": line(limits.TEXT),
    "price": whole_number(0, MAX_NUMBER),
    "factory_id": identifier(limits.TEXT),
    "opening_stock": whole_number(0, MAX_NUMBER),
    "slots": whole_number(1, MAX_SLOTS),
}
"""Key → what its value must be."""
OPTIONAL = ("product_id", "slots")
UNIQUE = {"factory": ("factory_id",), "product": ("slug", "product_id", "sku")}


def load(file: Path = FILE) -> Catalogue:
    """Return the catalogue. Raises CatalogueInvalid with a sentence for each mistake."""
    try:
        declared = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogueInvalid(f"{file.name}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError
        raise CatalogueInvalid(f"{file.name} is not TOML: {error}.") from error
    entries = {kind: _tables(declared.get(kind)) for kind in UNIQUE}
    entries["product"] = [_with_defaults(entry) for entry in entries["product"]]
    if mistakes := list(_mistakes(declared, entries)):
        raise CatalogueInvalid(" ".join(f"{file.name}: {mistake}." for mistake in mistakes))
    return Catalogue(
        factories=tuple(Factory(**entry) for entry in entries["factory"]),
        products=tuple(Product(**entry) for entry in entries["product"]),
    )


def product_id_of(slug: str) -> str:
    """Return the id of a product whose entry gives none: the same in each environment."""
    return str(uuid.uuid5(NAMESPACE, slug))


def _tables(value: object) -> list[dict[str, Any]]:
    """Return the entries of one kind. What is not a TOML table is left out: `_mistakes` names it."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _with_defaults(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a product's entry with the values that it may leave out."""
    slug = entry.get("slug")
    product_id = {"product_id": product_id_of(slug)} if isinstance(slug, str) else {}
    return {"slots": 1, **product_id, **entry}


def _mistakes(
    declared: Mapping[str, object], entries: Mapping[str, list[dict[str, Any]]]
) -> Iterator[str]:
    """Yield what is wrong, as the end of a sentence without its full stop."""
    for kind, value in declared.items():
        if kind not in UNIQUE:
            yield f"{kind!r} is neither [[factory]] nor [[product]]"
        elif not isinstance(value, list) or len(entries[kind]) != len(value):
            yield f"write each {kind} as [[{kind}]]"
    if declared.get("product", []) == []:
        yield "there is no [[product]]"
    for kind, rules in (("factory", FACTORY), ("product", PRODUCT)):
        for number, entry in enumerate(entries[kind], 1):
            yield from _mistakes_of_entry(f"{kind} {number}", entry, rules)
        for key in UNIQUE[kind]:
            values = Counter(str(entry[key]) for entry in entries[kind] if key in entry)
            yield from (
                f"{count} entries have the {key} {value}"
                for value, count in values.items()
                if count > 1
            )
    factories = [entry.get("factory_id") for entry in entries["factory"]]
    for entry in entries["product"]:
        if "factory_id" in entry and entry["factory_id"] not in factories:
            yield (
                f"the product {entry.get('slug')} names the factory {entry['factory_id']},"
                " which has no entry"
            )


def _mistakes_of_entry(
    name: str, entry: Mapping[str, object], rules: Mapping[str, Rule]
) -> Iterator[str]:
    for key in rules:
        if key not in entry and key not in OPTIONAL:
            yield f"{name} has no {key}"
    for key, value in entry.items():
        if key not in rules:
            yield f"{name} has an unknown key {key}"
        elif not rules[key].is_valid(value):
            yield f"{name}: {key} is {value!r}, but must be {rules[key].description}"
