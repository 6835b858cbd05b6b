"""docs/seed.md and docs/exercises.ko.md name what exists, and both languages say the same."""

import ast
import re
from collections.abc import Callable
from textwrap import dedent

import pytest

from console.stories import STORIES
from console.texts import KOREAN
from settings import MAX_CONNECTIONS, PROJECT
from tests.support.documentation import BLOCK, blocks, commands, makefile_targets, sections

SEED = sections("docs/seed.md")
EXERCISES = sections("docs/exercises.ko.md")
ORIGINAL = SEED["원본 코드"]
LANGUAGES = {"ko": SEED["열 가지 결함"], "en": SEED["The ten defects"]}
COMMANDS = [command for text in EXERCISES.values() for command in commands(text)]
COMMAND = re.compile(r"((?:[A-Z_]+=(?:'[^']*'|[^\s'$]+) )*)(?:[A-Z]+=\$\()?(\w+) (.*)")
"""Variables for a command, its program, and the rest. It may itself be the value of a variable."""
GIVEN = set(re.findall(r"^GIVEN = (.*)$", (PROJECT / "Makefile").read_text(), re.M)[0].split())
"""The variables that the Makefile hands to programs."""


def defects(language: str) -> list[str]:
    """Return the texts of the defects, each with its number and its title in the first line."""
    return re.split(r"^### ", LANGUAGES[language], flags=re.MULTILINE)[1:]


EACH_DEFECT = [
    pytest.param(text, id=f"{language}-{count}")
    for language in LANGUAGES
    for count, text in enumerate(defects(language), start=1)
]


def code_blocks(text: str) -> list[tuple[str, str]]:
    """Return the language and the content of each fenced block."""
    return [(language, body) for _, language, body in BLOCK.findall(text)]


def is_part(excerpt: str, whole: str) -> bool:
    """Return whether the lines of the excerpt follow each other in the whole, at any indentation."""
    lines = [line.strip() for line in excerpt.strip().splitlines()]
    all_lines = [line.strip() for line in whole.splitlines()]
    return any(
        all_lines[start : start + len(lines)] == lines for start in range(1 + len(all_lines))
    )


def node_ids(text: str) -> list[str]:
    return re.findall(r"`(tests/[^`]*::[^`]*)`", text)


def stories(text: str) -> list[str]:
    return re.findall(r"^- \*\*(?:이야기|Story)\*\*: `(\w+)`\.", text, re.MULTILINE)


def names(text: str) -> set[str]:
    """Return what stands in backquotes outside of the blocks."""
    return set(re.findall(r"`([^`\n]+)`", BLOCK.sub("", text)))


def figures(text: str) -> set[str]:
    """Return the numbers in the prose: not in blocks, names, quotations or parentheses."""
    prose = re.sub(r"`[^`\n]+`|\"[^\"]*\"|\([^)]*\)", "", BLOCK.sub("", text))
    return set(re.findall(r"\d[\d,.]*\d|\d", prose))


@pytest.mark.parametrize("language", LANGUAGES)
def test_seed_has_ten_defects(language: str) -> None:
    numbers = [text.partition(". ")[0] for text in defects(language)]
    assert numbers == [str(count) for count in range(1, 11)]


@pytest.mark.parametrize("part", [code_blocks, names, figures, node_ids, stories])
@pytest.mark.parametrize("defect", range(10))
def test_languages_agree(part: Callable[[str], object], defect: int) -> None:
    korean, english = (part(defects(language)[defect]) for language in LANGUAGES)
    assert korean == english, f"docs/seed.md: defect {defect + 1} differs in its {part.__name__}"


@pytest.mark.parametrize("text", EACH_DEFECT)
def test_excerpts_are_of_the_original(text: str) -> None:
    original = [body for language, body in code_blocks(ORIGINAL)]
    excerpts = [body for name in ("js", "yaml", "bash") for body in blocks(text, name)]
    assert excerpts, "quote the original"
    for excerpt in excerpts:
        assert any(is_part(excerpt, body) for body in original), excerpt


@pytest.mark.parametrize("text", EACH_DEFECT)
def test_code_that_fixes_a_defect_is_in_its_file(text: str) -> None:
    fixes = re.findall(r"\[`([^`]+)`\]\(\.\./\1\):\n\n```(?:sql|python)\n(.*?)```", text, re.DOTALL)
    assert len(fixes) == len(blocks(text, "sql") + blocks(text, "python")), "name each block's file"
    assert fixes, "quote the code that fixes it"
    for path, code in fixes:
        source = (PROJECT / path).read_text()
        assert is_part(dedent(code), source), f"{path} does not have these lines:\n{code}"


@pytest.mark.parametrize("text", EACH_DEFECT)
def test_tests_that_prove_a_fix_exist(text: str) -> None:
    assert node_ids(text), "name a test"
    for node_id in node_ids(text):
        path, _, test = node_id.partition("::")
        tree = ast.parse((PROJECT / path).read_text())
        defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        assert test in defined, f"{path} has no {test}"


@pytest.mark.parametrize("text", EACH_DEFECT)
def test_stories_that_show_a_defect_exist(text: str) -> None:
    assert len(stories(text)) == 1, "name one story"
    assert stories(text)[0] in STORIES


def test_every_story_shows_a_defect() -> None:
    assert {name for text in defects("ko") for name in stories(text)} == set(STORIES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_seed_has_the_connections_of_dev(language: str) -> None:
    assert str(MAX_CONNECTIONS["t4g.micro"]) in figures(defects(language)[3])


def test_sheet_has_six_exercises() -> None:
    numbers = [heading.partition(". ")[0] for heading in EXERCISES]
    assert numbers == ["1", "2", "3", "4", "5", "6"]


@pytest.mark.parametrize("heading", EXERCISES)
def test_exercise_has_its_parts_in_order(heading: str) -> None:
    parts = ["**질문.**", "```console\n$ ", "**볼 곳.**", "<details>\n<summary>답</summary>\n"]
    text = EXERCISES[heading]
    places = [text.find(part) for part in parts]
    assert -1 not in places, dict(zip(parts, places, strict=True))
    assert places == sorted(places), dict(zip(parts, places, strict=True))


@pytest.mark.parametrize("heading", [each for each in EXERCISES if not each.startswith("6.")])
def test_exercise_names_what_the_console_offers(heading: str) -> None:
    """A story among it, all in the page's own words."""
    (sentence,) = re.findall(r"^콘솔에서는 .*?\.$", EXERCISES[heading], re.MULTILINE | re.DOTALL)
    named = {" ".join(name.split()) for name in re.findall(r'"([^"]*)"', sentence)}
    assert named - set(KOREAN.values()) == set(), "the page says it otherwise"
    assert named & {KOREAN[f"{story}.title"] for story in STORIES}, "name a story"


@pytest.mark.parametrize("command", dict.fromkeys(COMMANDS))
def test_commands_of_an_exercise_exist(command: str) -> None:
    """tests/e2e/commands/test_exercises.py runs those that can be run on the tests' own cloud."""
    parts = COMMAND.fullmatch(command)
    assert parts, "the test cannot read this command"
    given, program, rest = parts.groups()
    assert program in {"make", "curl", "kill", "echo", "git"}
    for path in re.findall(r"\b(?:lambdas|docs)/[\w./]+", rest):
        assert (PROJECT / path).exists(), path
    if program == "make":
        assert rest in makefile_targets(), f"the Makefile has no {rest}"
        assert set(re.findall(r"([A-Z_]+)=", given)) <= GIVEN, "the Makefile does not read it"
