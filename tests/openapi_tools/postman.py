"""Make docs/postman_collection.json from docs/openapi.yaml. `make postman` runs this module.

The requests are those of Postman's own import, in an order in which each one has what it needs: the
checkout that is out of stock saves the order's id, and the requests after it use it.
"""

import copy
import json
from collections.abc import Iterator
from typing import Any

import yaml

from settings import PROJECT
from tests.openapi_tools.programs import DOCUMENT, converted

COLLECTION = PROJECT / "docs" / "postman_collection.json"
SAVE_ORDER_ID = """\
const checkout = pm.response.json();
if (checkout.purchased) {
    // There was enough. Buy again until there is not.
    pm.execution.setNextRequest(pm.info.requestName);
} else {
    pm.collectionVariables.set("order_id", checkout.order_id);
}"""
IS_SAVED_ORDER = """\
pm.test("it is the order of the checkout", () => {
    pm.expect(pm.response.json().order_id).to.eql(pm.collectionVariables.get("order_id"));
});"""
Item = dict[str, Any]


def requests_in(items: list[Item]) -> Iterator[Item]:
    """Yield the requests in these items and in their folders."""
    for item in items:
        if "item" in item:
            yield from requests_in(item["item"])
        else:
            yield item


def collection() -> dict[str, Any]:
    """Return the collection. Every call returns the same one."""
    document = yaml.safe_load(DOCUMENT.read_text())
    imported = converted("Example")
    by_summary = {item["name"]: item["request"] for item in requests_in(imported["item"])}
    operations = {
        operation["operationId"]: by_summary[operation["summary"]]
        for path in document["paths"].values()
        for method, operation in path.items()
        if method != "parameters"
    }
    examples = document["components"]["examples"]

    def item(operation: str, *, name: str = "", status: int = 200, script: str = "") -> Item:
        request = copy.deepcopy(operations[operation])
        lines = [
            f'pm.test("status is {status}", () => pm.response.to.have.status({status}));',
            *script.splitlines(),
        ]
        event = {"listen": "test", "script": {"type": "text/javascript", "exec": lines}}
        return {"name": name or request["name"], "request": request, "event": [event]}

    def checkout(example: str, *, script: str = "") -> Item:
        made = item("checkout", name=examples[example]["summary"], script=script)
        body = json.dumps(examples[example]["value"], ensure_ascii=False, indent=2)
        made["request"]["body"]["raw"] = body
        return made

    chained = {"getProduct", "checkout", "getOrder", "restock"}
    order = item("getOrder", script=IS_SAVED_ORDER)
    (order_id,) = order["request"]["url"]["variable"]
    callback = item("restock", name="The factory's callback, without its token", status=403)
    (order_in_query,) = callback["request"]["url"]["query"]
    order_id["value"] = order_in_query["value"] = "{{order_id}}"
    return {
        "info": {name: imported["info"][name] for name in ("name", "description", "schema")},
        "item": [
            item("getProduct"),
            checkout("KoreanCheckout"),
            checkout("EnglishCheckout"),
            checkout("LargeCheckout", script=SAVE_ORDER_ID),
            order,
            callback,
            *(item(operation) for operation in operations if operation not in chained),
        ],
        "variable": [
            *({name: each[name] for name in ("key", "value")} for each in imported["variable"]),
            {"key": "order_id", "value": ""},
            {"key": "apiKey", "value": "only-the-factory-has-it"},
        ],
    }


def rendered() -> str:
    """Return the text of docs/postman_collection.json."""
    return json.dumps(collection(), ensure_ascii=False, indent=2) + "\n"


if __name__ == "__main__":
    COLLECTION.write_text(rendered())
