"""The file that declares the products: each mistake in it has a sentence."""

import json
import tomllib
from dataclasses import asdict, fields
from pathlib import Path

import pytest

from common import limits
from migrate import catalogue
from migrate.catalogue import Catalogue, CatalogueInvalid, Factory, Product

FACTORY = 'factory_id = "FF-1"\nname = "베이글 공장"\n'
DONUT = tomllib.loads(catalogue.FILE.read_text())["product"][0]
BAGEL = {key: value for key, value in DONUT.items() if key not in catalogue.OPTIONAL} | {
    "slug": "bagel",
    "sku": "BG-1",
    "name": "베이글",
    "price": 2500,
    "factory_id": "FF-1",
    "opening_stock": 20,
}
"""An entry with each key that a product must have."""
PRODUCT = "".join(
    f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in BAGEL.items()
)
"""The same in TOML."""
BAGEL_ID = "3fcdd2bd-8d65-5005-a2cc-bea3e174c1d9"
"""The id of a product with the slug `bagel`, in every environment and forever."""


def toml(*products: str, factories: tuple[str, ...] = (FACTORY,)) -> str:
    """Return a catalogue with these entries."""
    return "".join(
        [
            *(f"[[factory]]\n{entry}" for entry in factories),
            *(f"[[product]]\n{entry}" for entry in products),
        ]
    )


def changed(**lines: str | None) -> str:
    """Return PRODUCT with other lines, as key → value in TOML. None: without that key."""
    kept = [line for line in PRODUCT.splitlines() if line.partition(" ")[0] not in lines]
    new = [f"{key} = {value}" for key, value in lines.items() if value is not None]
    return "\n".join([*kept, *new, ""])


def load(text: str | bytes, tmp_path: Path) -> Catalogue:
    file = tmp_path / "catalogue.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return catalogue.load(file)


def mistakes(text: str | bytes, tmp_path: Path) -> list[str]:
    """Return the sentences about the catalogue, without the file's name."""
    with pytest.raises(CatalogueInvalid) as invalid:
        load(text, tmp_path)
    _, *sentences = str(invalid.value).split("catalogue.toml: ")
    return [sentence.strip() for sentence in sentences]


def test_entries_become_factories_and_products(tmp_path: Path) -> None:
    declared = load(toml(PRODUCT + 'product_id = "' + BAGEL_ID + '"\nslots = 16\n'), tmp_path)
    assert declared == Catalogue(
        factories=(Factory(factory_id="FF-1", name="베이글 공장"),),
        products=(Product(**BAGEL, product_id=BAGEL_ID, slots=16),),
    )


def test_product_id_and_slots_may_be_left_out(tmp_path: Path) -> None:
    """Another id would be another product, so the same slug makes the same id forever."""
    (product,) = load(toml(PRODUCT), tmp_path).products
    assert product.product_id == BAGEL_ID
    assert product.slots == 1


def test_products_with_other_slugs_have_other_ids(tmp_path: Path) -> None:
    other = changed(slug='"cake"', sku='"CK-1"')
    first, second = load(toml(PRODUCT, other), tmp_path).products
    assert first.product_id != second.product_id


def test_shop_sells_the_donut_of_the_first_release() -> None:
    (donut,) = [product for product in catalogue.load().products if product.slug == "donut"]
    first = {
        "slug": "donut",
        "product_id": "e3957c48-2e06-4d5e-8404-4ff32e8b8f9f",
        "sku": "CP-502101",
        "name": "부산도너츠",
        "price": 19900,
        "factory_id": "FF-500293",
        "opening_stock": 10,
        "slots": 1,
    }
    assert {key: asdict(donut)[key] for key in first} == first


@pytest.mark.parametrize(
    ("entry", "rules"),
    [(Factory, catalogue.FACTORY), (Product, catalogue.PRODUCT)],
    ids=["factory", "product"],
)
def test_each_key_has_a_rule(entry: type[Factory | Product], rules: dict[str, object]) -> None:
    keys = {field.name for field in fields(entry)}
    assert keys == rules.keys(), (
        f"{entry.__name__} and {entry.__name__.upper()} in lambdas/migrate/catalogue.py differ"
    )


@pytest.mark.parametrize("key", BAGEL)
def test_missing_key_of_a_product_is_named(key: str, tmp_path: Path) -> None:
    assert mistakes(toml(changed(**{key: None})), tmp_path) == [f"product 1 has no {key}."]


@pytest.mark.parametrize("key", ["factory_id", "name"])
def test_missing_key_of_a_factory_is_named(key: str, tmp_path: Path) -> None:
    entry = "".join(line for line in FACTORY.splitlines(keepends=True) if not line.startswith(key))
    text = toml(changed(factory_id='"FF-2"'), factories=(entry, FACTORY.replace("FF-1", "FF-2")))
    assert mistakes(text, tmp_path) == [f"factory 1 has no {key}."]


def test_unknown_key_is_named(tmp_path: Path) -> None:
    text = toml(changed(stock="10"), factories=(FACTORY + 'slug = "bakery"\n',))
    assert mistakes(text, tmp_path) == [
        "factory 1 has an unknown key slug.",
        "product 1 has an unknown key stock.",
    ]


SLUG = f"1 to {limits.SLUG} ASCII letters, digits, hyphens or underscores"
NAME = f"1 to {limits.TEXT} characters on one line, without spaces around them"
AMOUNT = "a whole number from 0 to 1,000,000,000,000"
WRONG = {
    "slug with a slash": ("slug", '"a/b"', "'a/b'", SLUG),
    "slug in Korean": ("slug", '"베이글"', "'베이글'", SLUG),
    "empty slug": ("slug", '""', "''", SLUG),
    "slug that is too long": ("slug", f'"{65 * "a"}"', repr(65 * "a"), SLUG),
    "slug that is a number": ("slug", "7", "7", SLUG),
    "product_id that is not a UUID": ("product_id", '"bagel"', "'bagel'", "a UUID in lower case"),
    "product_id in upper case": (
        "product_id",
        f'"{BAGEL_ID.upper()}"',
        repr(BAGEL_ID.upper()),
        "a UUID in lower case",
    ),
    "product_id that is a number": ("product_id", "1", "1", "a UUID in lower case"),
    "sku with a space": ("sku", '"B 1"', "'B 1'", SLUG),
    "sku that is too long": ("sku", f'"{65 * "a"}"', repr(65 * "a"), SLUG),
    "empty name": ("name", '""', "''", NAME),
    "name with a space around it": ("name", '" bagel"', "' bagel'", NAME),
    "name with a line break": ("name", r'"a\nb"', r"'a\nb'", NAME),
    "name with a line separator": ("name", r'"a\u2028b"', r"'a\u2028b'", NAME),
    "name with a paragraph separator": ("name", r'"a\u2029b"', r"'a\u2029b'", NAME),
    "name that is too long": ("name", f'"{201 * "홍"}"', repr(201 * "홍"), NAME),
    "name that is true": ("name", "true", "True", NAME),
    "negative price": ("price", "-1", "-1", AMOUNT),
    "price that is too high": ("price", "1_000_000_000_001", "1000000000001", AMOUNT),
    "price with a fraction": ("price", "1.5", "1.5", AMOUNT),
    "price in quotation marks": ("price", '"1"', "'1'", AMOUNT),
    "price that is true": ("price", "true", "True", AMOUNT),
    "negative opening stock": ("opening_stock", "-1", "-1", AMOUNT),
    "opening stock that is false": ("opening_stock", "false", "False", AMOUNT),
    "no slots": ("slots", "0", "0", "a whole number from 1 to 64"),
    "too many slots": ("slots", "65", "65", "a whole number from 1 to 64"),
    "slots that are true": ("slots", "true", "True", "a whole number from 1 to 64"),
}


@pytest.mark.parametrize(("key", "value", "quoted", "rule"), WRONG.values(), ids=WRONG)
def test_wrong_value_is_quoted_with_the_rule(
    key: str, value: str, quoted: str, rule: str, tmp_path: Path
) -> None:
    assert mistakes(toml(changed(**{key: value})), tmp_path) == [
        f"product 1: {key} is {quoted}, but must be {rule}."
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("slug", f'"{64 * "a"}"'),
        ("sku", f'"{64 * "a"}"'),
        ("name", '"빵"'),
        ("name", f'"{200 * "홍"}"'),
        ("name", '"👩‍🍳 케이크"'),
        ("price", "0"),
        ("price", "1_000_000_000_000"),
        ("opening_stock", "0"),
        ("opening_stock", "1_000_000_000_000"),
        ("slots", "1"),
        ("slots", "64"),
    ],
)
def test_value_at_its_limit_is_accepted(key: str, value: str, tmp_path: Path) -> None:
    assert load(toml(changed(**{key: value})), tmp_path).products


def test_wrong_value_of_a_factory_is_quoted_with_the_rule(tmp_path: Path) -> None:
    text = toml(
        changed(factory_id='"FF-2"'), factories=(FACTORY, 'factory_id = "FF-2"\nname = 2\n')
    )
    assert mistakes(text, tmp_path) == [f"factory 2: name is 2, but must be {NAME}."]


@pytest.mark.parametrize("key", ["slug", "sku", "product_id"])
def test_value_that_several_products_have_is_named(key: str, tmp_path: Path) -> None:
    bagel = {"slug": "bagel", "sku": "BG-1", "product_id": BAGEL_ID}
    cake = {"slug": "cake", "sku": "CK-1", "product_id": BAGEL_ID.replace("3", "4")}
    entries = [
        changed(**{name: f'"{value}"' for name, value in entry.items()})
        for entry in (bagel, cake | {key: bagel[key]})
    ]
    assert mistakes(toml(*entries), tmp_path) == [f"2 entries have the {key} {bagel[key]}."]


def test_factory_id_that_several_factories_have_is_named(tmp_path: Path) -> None:
    text = toml(PRODUCT, factories=(FACTORY, FACTORY, FACTORY))
    assert mistakes(text, tmp_path) == ["3 entries have the factory_id FF-1."]


def test_factory_without_an_entry_is_named(tmp_path: Path) -> None:
    assert mistakes(toml(changed(factory_id='"FF-2"')), tmp_path) == [
        "the product bagel names the factory FF-2, which has no entry."
    ]


def test_each_mistake_has_a_sentence_of_its_own(tmp_path: Path) -> None:
    text = toml(changed(price="-1", sku=None), changed(slug='"cake"', sku='"CK-1"', slots="0"))
    assert mistakes(text, tmp_path) == [
        "product 1 has no sku.",
        f"product 1: price is -1, but must be {AMOUNT}.",
        "product 2: slots is 0, but must be a whole number from 1 to 64.",
    ]


@pytest.mark.parametrize("kind", ["factory", "product"])
def test_single_brackets_are_a_mistake(kind: str, tmp_path: Path) -> None:
    text = toml(PRODUCT).replace(f"[[{kind}]]", f"[{kind}]")
    assert mistakes(text, tmp_path)[0] == f"write each {kind} as [[{kind}]]."


@pytest.mark.parametrize("value", ["7", '"bagel"', '["bagel"]'])
def test_product_that_is_not_a_table_is_a_mistake(value: str, tmp_path: Path) -> None:
    assert mistakes(f"product = {value}", tmp_path) == ["write each product as [[product]]."]


def test_entry_of_another_kind_is_named(tmp_path: Path) -> None:
    assert mistakes(toml(PRODUCT) + "[[products]]\n", tmp_path) == [
        "'products' is neither [[factory]] nor [[product]]."
    ]


@pytest.mark.parametrize("text", ["", "# nothing yet\n", toml(), "product = []"])
def test_catalogue_without_products_is_a_mistake(text: str, tmp_path: Path) -> None:
    """It would take every product from the shop. Whoever empties the file by accident learns it."""
    assert mistakes(text, tmp_path) == ["there is no [[product]]."]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"price: 100", r"Expected '=' after a key .*line 1"),
        (toml(PRODUCT + "price = 1\n").encode(), "Cannot overwrite a value"),
        (toml(PRODUCT).encode("utf-16"), "can't decode byte"),
        (toml(PRODUCT).encode("euc-kr"), "can't decode byte"),
    ],
    ids=["YAML", "key written twice", "UTF-16", "EUC-KR"],
)
def test_file_that_is_not_toml_is_named(text: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(CatalogueInvalid, match=rf"^catalogue\.toml is not TOML: .*{reason}.*\.$"):
        load(text, tmp_path)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CatalogueInvalid, match=r"^catalogue\.toml: No such file or directory\.$"):
        catalogue.load(tmp_path / "catalogue.toml")
