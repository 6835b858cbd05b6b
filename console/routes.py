"""What the console serves: its files, and the actions with the fields of their requests."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

from settings import PROJECT

PAGE = PROJECT / "console/page"
UPLOT, SWAGGER_UI = (PROJECT / "node_modules" / name for name in ("uplot/dist", "swagger-ui-dist"))
HTML, SCRIPT, STYLE, TEXT, JSON, YAML, EVENTS = (
    f"{name}; charset=utf-8"
    for name in (
        "text/html",
        "text/javascript",
        "text/css",
        "text/plain",
        "application/json",
        "application/yaml",
        "text/event-stream",
    )
)
SCRIPTS = (
    *("console.js", "elements.js", "orders.js", "pipeline.js", "runbook.js", "stock.js"),
    *("api.js", "language.js"),
)
FILES: Mapping[str, tuple[Path, str]] = {
    "/": (PAGE / "index.html", HTML),
    **{f"/{name}": (PAGE / name, SCRIPT) for name in SCRIPTS},
    "/console.css": (PAGE / "console.css", STYLE),
    "/icon.svg": (PAGE / "icon.svg", "image/svg+xml"),
    "/api.html": (PAGE / "api.html", HTML),
    "/openapi.yaml": (PROJECT / "docs/openapi.yaml", YAML),
    "/vendor/uplot/uPlot.iife.min.js": (UPLOT / "uPlot.iife.min.js", SCRIPT),
    "/vendor/uplot/uPlot.min.css": (UPLOT / "uPlot.min.css", STYLE),
    "/vendor/swagger-ui/swagger-ui-bundle.js": (SWAGGER_UI / "swagger-ui-bundle.js", SCRIPT),
    "/vendor/swagger-ui/swagger-ui.css": (SWAGGER_UI / "swagger-ui.css", STYLE),
}
"""Every file that is served, by its path, with its type. Each is read again for each request."""

RUNBOOK = PROJECT / "docs/runbook.md"
POLICY = "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
POLICIES: Mapping[str, str] = {
    "/api.html": "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'self'",
}
"""The Content-Security-Policy of the paths that need another one."""

Check = Callable[[object], bool]


def integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def text(value: object) -> bool:
    return isinstance(value, str)


def text_or_null(value: object) -> bool:
    return value is None or text(value)


@dataclass(frozen=True, kw_only=True)
class Action:
    """What a POST request does.

    method: of Actions. status: of the response. required, optional: the body's fields, each with
    the check of its value.
    """

    method: str
    status: HTTPStatus
    required: Mapping[str, Check] = field(default_factory=dict)
    optional: Mapping[str, Check] = field(default_factory=dict)

    def wrong_fields(self, body: Mapping[str, Any]) -> list[str]:
        """Return the fields that are missing, unknown, or have a wrong value."""
        checks = {**self.required, **self.optional}
        wrong = {name for name, value in body.items() if not checks.get(name, _never)(value)}
        return sorted(wrong | (self.required.keys() - body.keys()))


def _never(value: object) -> bool:
    return False


ACTIONS: Mapping[str, Action] = {
    "/buy": Action(
        method="buy",
        status=HTTPStatus.OK,
        required={"quantity": integer, "requester": text},
        optional={"key": text_or_null, "product_id": text_or_null},
    ),
    "/rush": Action(
        method="rush",
        status=HTTPStatus.ACCEPTED,
        required={"buyers": integer, "at_once": integer},
    ),
    "/break/*": Action(
        method="break_down", status=HTTPStatus.ACCEPTED, optional={"seconds": number}
    ),
    "/heal/*": Action(method="heal", status=HTTPStatus.ACCEPTED),
    "/heal": Action(method="heal_everything", status=HTTPStatus.ACCEPTED),
    "/redrive": Action(method="redrive", status=HTTPStatus.OK),
    "/story/*": Action(method="tell_story", status=HTTPStatus.ACCEPTED),
    "/stocktake": Action(method="count_stock", status=HTTPStatus.OK, required={"count": integer}),
    "/relay": Action(method="run_relay", status=HTTPStatus.ACCEPTED),
}
"""The actions by their path, in which a star stands for a name: the method's first argument."""
NAME = re.compile("[a-z_]{1,40}")


def find_action(path: str) -> tuple[Action, list[str]] | None:
    """Return the action of a path, and the name in the path, if it has one."""
    if (action := ACTIONS.get(path)) and "*" not in path:
        return action, []
    head, _, name = path.rpartition("/")
    action = ACTIONS.get(f"{head}/*")
    return (action, [name]) if action and NAME.fullmatch(name) else None


def runbook_section(name: str) -> str | None:
    """Return the runbook's section that has this heading, or this name in a heading of several."""
    parts = re.split(r"^## (.+)$", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        if name == heading or name in heading.split(", "):
            return f"{heading}\n{body}"
    return None
