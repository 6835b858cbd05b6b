"""console/page: its texts exist in both languages, and nothing in it can run what it shows."""

import json
import re
from dataclasses import asdict, fields
from html.parser import HTMLParser
from typing import get_args, get_type_hints

import pytest

from console import routes, view
from console.texts import ENGLISH, KOREAN
from local.database.outage import OUTAGES
from local.factory import BREAKAGES, STAGES
from settings import PROJECT
from tests.support.console_views import VIEWS

PAGE = PROJECT / "console/page"
HTML = {name: (PAGE / name).read_text() for name in ("index.html", "api.html")}
SCRIPTS = {path.name: path.read_text() for path in sorted(PAGE.glob("*.js"))}
STYLE = (PAGE / "console.css").read_text()
SCRIPT = "\n".join(SCRIPTS.values())

BREAKAGE_NAMES = {
    *(f"factory_{name}" for name in BREAKAGES),
    *(f"database_{name}" for name in OUTAGES),
    *("sns", "sqs", "poison_message", "forged_callback"),
}


def literal(type_: type, name: str) -> set[str]:
    """Return the values of a field whose type is a Literal."""
    return set(get_args(get_type_hints(type_)[name]))


def listed(constant: str) -> set[str]:
    """Return the texts in a list of the script."""
    found = re.search(rf"const {constant} = \[([^\]]+)\]", SCRIPT)
    assert found, constant
    return set(re.findall('"([^"]+)"', found[1]))


TEMPLATES = {
    "page.breakage.${name}": BREAKAGE_NAMES,
    "page.breakage.${name}.expect": BREAKAGE_NAMES,
    "page.breakage.${name}.notice": BREAKAGE_NAMES,
    "page.check.${name}": literal(view.Check, "name"),
    "page.check.${verdict}": {"true", "false", "unknown"},
    "page.connection.${state.connection}": {"connecting", "live", "lost"},
    "page.field.${name}": listed("FIELDS"),
    'page.hop.${what.replaceAll(" ", "_")}': {name.replace(" ", "_") for name in listed("HOPS")},
    "page.lost.${who}": {"original", "ours"},
    "page.mark.${kind}": literal(view.Mark, "kind"),
    "page.place.${place}": set(get_args(view.Place)),
    "page.source.${name}": {*("database", "queues", "factory", "logs", "alarms", "shop")},
    "page.story.${story.state}": literal(view.StoryRun, "state"),
}
"""What the page can put into each key that it composes."""


class Page(HTMLParser):
    """Collects the elements of an HTML file."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.elements[-1][0], data.strip()))


PAGES = {name: Page(text) for name, text in HTML.items()}


def used_keys() -> set[str]:
    """Return the keys of all texts that the page uses."""
    keys = {
        value
        for _, attributes in PAGES["index.html"].elements
        for name in ("data-text", "data-label", "data-title", "data-placeholder")
        if (value := attributes.get(name))
    }
    keys |= set(re.findall(r'"(page\.[\w.]+)"', SCRIPT))
    for template in re.findall(r"`(page\.[^`]+\$[^`]+)`", SCRIPT):
        prefix, suffix = template.split("${")[0], template.rpartition("}")[2]
        keys |= {f"{prefix}{value}{suffix}" for value in TEMPLATES[template]}
    return keys


def test_languages_have_the_same_texts_of_the_page() -> None:
    korean, english = (
        {key for key in texts if key.startswith("page.")} for texts in (KOREAN, ENGLISH)
    )
    assert korean == english


def test_page_uses_each_of_its_texts_and_no_other() -> None:
    used = used_keys()
    texts = {key for key in KOREAN if key.startswith("page.")}
    assert used - texts == set(), "the page uses texts that do not exist"
    assert texts - used == set(), "no page uses these texts"


def test_page_composes_no_key_that_is_not_listed_here() -> None:
    composed = set(re.findall(r"`(page\.[^`]+\$[^`]+)`", SCRIPT))
    assert composed == TEMPLATES.keys()


def test_html_has_no_texts_of_its_own() -> None:
    """Except for titles before the script runs, technical names and the languages' own names."""
    for name, page in PAGES.items():
        for tag, text in page.texts:
            assert tag in ("title", "code", "a"), f"{name}: {text!r} belongs into texts.py"


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize(
    "forbidden",
    [
        r"innerHTML",
        r"outerHTML",
        r"insertAdjacentHTML",
        r"document\.write",
        r"\beval\b",
        r"\bFunction\(",
        r"DOMParser",
        r"createContextualFragment",
        r"srcdoc",
        r"javascript:",
        r"set(Timeout|Interval)\([\"'`]",
        r"setAttribute\([\"'](on|style)",
        r"localStorage|sessionStorage|document\.cookie",
        r"https?://",
    ],
)
def test_script_turns_no_text_into_html_or_code(name: str, forbidden: str) -> None:
    assert not re.search(forbidden, SCRIPTS[name]), forbidden


@pytest.mark.parametrize("name", HTML)
def test_html_contains_no_script_style_or_handler(name: str) -> None:
    """The Content-Security-Policy would block them."""
    text = HTML[name]
    assert not re.search(r"<script[^>]*>\s*\S[^<]*</script>", text)
    for tag, attributes in PAGES[name].elements:
        assert tag != "style"
        assert "style" not in attributes, attributes
        assert not [each for each in attributes if each.startswith("on")], attributes


@pytest.mark.parametrize("name", HTML)
def test_html_loads_from_its_own_server_only(name: str) -> None:
    for tag, attributes in PAGES[name].elements:
        for attribute in ("src", "href", "action", "data", "poster"):
            url = attributes.get(attribute, "/")
            assert re.match(r"/(?!/)|[?#]", url), f"<{tag} {attribute}={url}>"


def test_scripts_are_short_enough_to_be_read() -> None:
    for name, script in SCRIPTS.items():
        assert len(script.splitlines()) <= 700, name


@pytest.mark.parametrize("key", KOREAN)
def test_korean_text_needs_no_doubled_particle(key: str) -> None:
    """What follows a value depends on how the value is read, so no particle follows it."""
    assert not re.search(r"[은을이]\([는를가]\)|\(이\)|\(으\)", KOREAN[key])


@pytest.mark.parametrize("key", KOREAN)
def test_korean_text_names_each_function_in_korean(key: str) -> None:
    assert not re.search("relay|consumer", KOREAN[key])


def test_script_imports_each_script_of_the_page_and_no_other() -> None:
    imported = set(re.findall(r'from "\./([^"]+)"', SCRIPT))
    assert (
        imported | {"console.js", "api.js", "language.js"} == SCRIPTS.keys() == set(routes.SCRIPTS)
    )


def test_style_loads_nothing() -> None:
    assert not re.search(r"url\(|@import", STYLE)


def test_each_label_and_reference_names_an_element() -> None:
    elements = [attributes for _, attributes in PAGES["index.html"].elements]
    ids = [attributes["id"] for attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for attributes in elements:
        for name in ("aria-controls", "aria-labelledby", "aria-describedby", "for", "data-close"):
            assert attributes.get(name, ids[0]) in ids, attributes


def test_script_finds_only_elements_that_exist() -> None:
    elements = [attributes for _, attributes in PAGES["index.html"].elements]
    for attribute, pattern in {
        "id": r'find\("#([\w-]+)"\)',
        "data-action": r'action\("(\w+)"\)',
        "data-number": r'(?:byNumber|number)\("(\w+)"',
        "data-result": r'(?:act\([\w.]+|onClick\("\w+"|onSubmit\("[^"]+", "\w+"), "(\w+)"',
    }.items():
        names = set(re.findall(pattern, SCRIPT)) - {"lost_by_the_original", "lost_by_ours"}
        assert names, attribute
        existing = {attributes.get(attribute) for attributes in elements}
        assert names <= existing, f"{attribute}: {names - existing}"


def test_pipeline_has_each_place_part_and_stage() -> None:
    elements = [attributes for _, attributes in PAGES["index.html"].elements]

    def values(name: str) -> set[str]:
        return {attributes[name] for attributes in elements if name in attributes}

    assert values("data-place") == set(get_args(view.Place))
    assert values("data-part") == literal(view.Breakage, "part")
    assert values("data-stage-area") == {str(stage) for stage in range(STAGES + 1)}


@pytest.mark.parametrize("name", VIEWS)
def test_view_can_be_sent(name: str) -> None:
    sent = json.loads(json.dumps(asdict(VIEWS[name])))
    assert sent.keys() == {field.name for field in fields(view.View)}


def test_ordinary_view_has_everything() -> None:
    ordinary = VIEWS["ordinary"]
    assert {order.place for order in ordinary.orders} >= set(get_args(view.Place)) - {
        "dead_letter",
        "stuck",
    }
    assert {breakage.name for breakage in ordinary.breakages} == BREAKAGE_NAMES
    assert {mark.kind for mark in ordinary.marks} == literal(view.Mark, "kind")
