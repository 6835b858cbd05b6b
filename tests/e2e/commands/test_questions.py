"""What README.md tells a newcomer to type works in a copy of the project, as it is written."""

import re
import socket
import tomllib
from collections.abc import Iterator

import pytest
import requests

from local.polling import eventually
from migrate import catalogue
from tests.support.clone import Clone
from tests.support.documentation import blocks, commands, sections

README = sections("README.md")
QUESTIONS = dict(re.findall(r"^### (.+)\n((?:(?!### ).*\n)*)", README["Questions"], re.MULTILINE))
OPENING_STOCK = {product.slug: product.opening_stock for product in catalogue.load().products}
EXAMPLE_PORT = 9000
"""The port of the factory in README.md."""


@pytest.fixture(scope="module", autouse=True)
def _catalogue_as_before(clone: Clone) -> Iterator[None]:
    with clone.restored():
        yield


def order_more(clone: Clone) -> str:
    """Order more than the stock, and return the id of the production order."""
    body = {"MessageAttributeProductCnt": clone.get("/product/donut")["stock"] + 1}
    response = requests.post(f"{clone.endpoint}/checkout", json=body, timeout=10)
    return str(response.json()["order_id"])


def wait_until_arrived(order_id: str, *, clone: Clone) -> None:
    def arrived() -> None:
        assert clone.get(f"/order/{order_id}")["status"] == "arrived"

    eventually(arrived, within=20)


def test_every_question_with_commands_has_a_test() -> None:
    assert {question for question, text in QUESTIONS.items() if commands(text)} == {
        "What next, after `make up`?",
        "How do I reset the stock?",
        "How do I use my own factory, and what must it return?",
        "How do I debug a function?",
        "How do I run one test?",
        "How do I see the queue?",
    }


def test_first_commands_show_an_order_that_arrives(clone: Clone) -> None:
    smoke, orders, books = commands(QUESTIONS["What next, after `make up`?"])
    (order_id,) = re.findall(r"order (\S+) arrived", clone.printed(smoke))
    assert order_id
    assert re.search(r"^arrived +1\b", clone.printed(orders), re.MULTILINE)
    slug, *_, difference = clone.printed(books).splitlines()[-1].split()
    assert (slug, difference) == ("donut", "0")


def test_product_is_added_and_a_price_changed(clone: Clone) -> None:
    section = README["Add a product, change a price"]
    (entry,) = blocks(section, "toml")
    file = clone.directory / catalogue.FILE.relative_to(catalogue.FILE.parents[2])
    file.write_text(file.read_text().replace("price = 19900", "price = 21000") + entry)
    clone.printed("\n".join(commands(section)))
    (bagel,) = tomllib.loads(entry)["product"]
    product = clone.get("/product/bagel")
    assert (product["name"], product["price"]) == (bagel["name"], bagel["price"])
    assert product["stock"] == bagel["opening_stock"]
    assert clone.get("/product/donut")["price"] == 21000


def test_stock_is_reset(clone: Clone) -> None:
    wait_until_arrived(order_more(clone), clone=clone)
    clone.printed("\n".join(commands(QUESTIONS["How do I reset the stock?"])))
    assert clone.get("/product/donut")["stock"] == OPENING_STOCK["donut"]


def test_function_waits_for_a_debugger(clone: Clone) -> None:
    output = clone.printed("\n".join(commands(QUESTIONS["How do I debug a function?"])))
    ((host, port),) = re.findall(r"^sales waits for a debugger at (\S+):(\d+)\.$", output, re.M)
    with socket.create_connection((host, int(port)), timeout=10):
        pass
    assert "debugger" not in clone.printed("make up")


def test_one_test_is_run(clone: Clone) -> None:
    output = clone.printed("\n".join(commands(QUESTIONS["How do I run one test?"])))
    assert re.search(r"^\. +\[100%\]$", output, re.MULTILINE), output


def test_queues_are_shown(clone: Clone) -> None:
    output = clone.printed("\n".join(commands(QUESTIONS["How do I see the queue?"])))
    for queue in ("stock_queue", "stock_dlq"):
        assert queue in output, output


def test_own_factory_makes_an_order(clone: Clone) -> None:
    """The example listens at another port, which no other program on this machine has taken.

    It is the last test of this file: for another factory, `make up` synthesizes the stacks again.
    """
    text = QUESTIONS["How do I use my own factory, and what must it return?"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (example,) = blocks(text, "python")
    assert example.count(str(EXAMPLE_PORT)) == 1
    name = re.findall(r"^# (\S+\.py)$", example, re.MULTILINE)[0]
    (clone.directory / name).write_text(example.replace(str(EXAMPLE_PORT), str(port)))
    script = "\n".join(commands(text)).replace(f":{EXAMPLE_PORT}/", f":{port}/")
    with clone.typed(script) as output:
        assert "Nobody listens" not in output
        wait_until_arrived(order_more(clone), clone=clone)
        assert "making" in (clone.directory / "printed").read_text()
    _, up = script.splitlines()
    assert f"Nobody listens at http://127.0.0.1:{port}/" in clone.printed(up)
