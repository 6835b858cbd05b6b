"""What README.md tells a newcomer to type works in a copy of the project, as it is written."""

import os
import re
import signal
import socket
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests

from local.cloud import NO_PROXY, PREFERRED_PORTS
from local.polling import eventually
from migrate import catalogue
from tests.support.documentation import blocks, commands, sections, shell_variables
from tests.touch_lists.__main__ import copy_of_the_tree

README = sections("README.md")
QUESTIONS = dict(re.findall(r"^### (.+)\n((?:(?!### ).*\n)*)", README["Questions"], re.MULTILINE))
SHELL = {
    name: value
    for name, value in shell_variables().items()
    if name not in ("CLOUD_DIRECTORY", "ENV", "FACTORY_URL")
} | NO_PROXY
SECONDS = 120
OPENING_STOCK = {product.slug: product.opening_stock for product in catalogue.load().products}
EXAMPLE_PORT = 9000
"""The port of the factory in README.md."""


@contextmanager
def typed(script: str, tree: Path) -> Iterator[str]:
    """Run a script in a shell, and yield what it prints.

    What it leaves in the background is ended after the block.
    """
    output = tree / "printed"
    with output.open("w") as file:
        shell = subprocess.Popen(
            ["bash", "-e", "-c", script],
            cwd=tree,
            env=SHELL,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        status = shell.wait(timeout=SECONDS)
        assert status == 0, f"{script}\n{output.read_text()}"
        yield output.read_text()
    finally:
        with suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)


def printed(script: str, tree: Path) -> str:
    with typed(script, tree) as output:
        return output


@contextmanager
def port_taken(port: int) -> Iterator[None]:
    """Take the port, unless somebody else has it."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", port)))
        yield


@pytest.fixture(scope="module")
def clone() -> Iterator[Path]:
    """Return a copy of the project in which `make up` has run, although port 8080 was taken."""
    port = PREFERRED_PORTS["endpoint"]
    with copy_of_the_tree() as tree, port_taken(port):
        try:
            output = printed("make up", tree)
            assert f"Port {port} was taken: the API uses " in output
            yield tree
        finally:
            printed("make down", tree)


def get(path: str, *, clone: Path) -> Mapping[str, Any]:
    """Return the JSON of a response of the shop."""
    endpoint = (clone / ".local/endpoint").read_text().strip()
    return dict(requests.get(endpoint + path, timeout=10).json())


def order_more(clone: Path) -> str:
    """Order more than the stock, and return the id of the production order."""
    endpoint = (clone / ".local/endpoint").read_text().strip()
    body = {"MessageAttributeProductCnt": get("/product/donut", clone=clone)["stock"] + 1}
    return str(requests.post(f"{endpoint}/checkout", json=body, timeout=10).json()["order_id"])


def wait_until_arrived(order_id: str, *, clone: Path) -> None:
    def arrived() -> None:
        assert get(f"/order/{order_id}", clone=clone)["status"] == "arrived"

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


def test_first_commands_show_an_order_that_arrives(clone: Path) -> None:
    smoke, orders, books = commands(QUESTIONS["What next, after `make up`?"])
    (order_id,) = re.findall(r"order (\S+) arrived", printed(smoke, clone))
    assert order_id
    assert re.search(r"^arrived +1\b", printed(orders, clone), re.MULTILINE)
    slug, *_, difference = printed(books, clone).splitlines()[-1].split()
    assert (slug, difference) == ("donut", "0")


def test_product_is_added_and_a_price_changed(clone: Path) -> None:
    section = README["Add a product, change a price"]
    (entry,) = blocks(section, "toml")
    file = clone / catalogue.FILE.relative_to(catalogue.FILE.parents[2])
    file.write_text(file.read_text().replace("price = 19900", "price = 21000") + entry)
    printed("\n".join(commands(section)), clone)
    (bagel,) = tomllib.loads(entry)["product"]
    product = get("/product/bagel", clone=clone)
    assert (product["name"], product["price"]) == (bagel["name"], bagel["price"])
    assert product["stock"] == bagel["opening_stock"]
    assert get("/product/donut", clone=clone)["price"] == 21000


def test_stock_is_reset(clone: Path) -> None:
    wait_until_arrived(order_more(clone), clone=clone)
    printed("\n".join(commands(QUESTIONS["How do I reset the stock?"])), clone)
    assert get("/product/donut", clone=clone)["stock"] == OPENING_STOCK["donut"]


def test_own_factory_makes_an_order(clone: Path) -> None:
    """The example listens at another port, which no other program on this machine has taken."""
    text = QUESTIONS["How do I use my own factory, and what must it return?"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (example,) = blocks(text, "python")
    assert example.count(str(EXAMPLE_PORT)) == 1
    name = re.findall(r"^# (\S+\.py)$", example, re.MULTILINE)[0]
    (clone / name).write_text(example.replace(str(EXAMPLE_PORT), str(port)))
    script = "\n".join(commands(text)).replace(f":{EXAMPLE_PORT}/", f":{port}/")
    with typed(script, clone) as output:
        assert "Nobody listens" not in output
        wait_until_arrived(order_more(clone), clone=clone)
        assert "making" in (clone / "printed").read_text()
    _, up = script.splitlines()
    assert f"Nobody listens at http://127.0.0.1:{port}/" in printed(up, clone)


def test_function_waits_for_a_debugger(clone: Path) -> None:
    output = printed("\n".join(commands(QUESTIONS["How do I debug a function?"])), clone)
    ((host, port),) = re.findall(r"^sales waits for a debugger at (\S+):(\d+)\.$", output, re.M)
    with socket.create_connection((host, int(port)), timeout=10):
        pass
    assert "debugger" not in printed("make up", clone)


def test_one_test_is_run(clone: Path) -> None:
    output = printed("\n".join(commands(QUESTIONS["How do I run one test?"])), clone)
    assert re.search(r"^\. +\[100%\]$", output, re.MULTILINE), output


def test_queues_are_shown(clone: Path) -> None:
    output = printed("\n".join(commands(QUESTIONS["How do I see the queue?"])), clone)
    for queue in ("stock_queue", "stock_dlq"):
        assert queue in output, output
