"""README.ko.md says in Korean what README.md says.

Both consist of the same pieces in the same order: headings, paragraphs, list items, rows of tables
and code blocks. What is not prose is equal in both pieces of a pair. Whether the prose means the
same, no test can tell: these look for numbers, for Korean letters, and for text that is missing.
"""

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from difflib import unified_diff
from itertools import zip_longest

import pytest

from settings import PROJECT
from tests.support.documentation import anchor

PIECE = re.compile(
    r"^ *(?P<block>```\w*)\n(?s:.*?)^ *```$"
    r"|^(?P<heading>#+) .+$"
    r"|^(?P<row>\|).+$"
    r"|^(?P<item>[-*]|\d+\.) .+(?:\n +\S.*)*"
    r"|^(?P<paragraph>\S).*(?:\n(?! *```|#|\|).+)*",
    re.MULTILINE,
)
SPAN = re.compile(r"`[^`]+`")
LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)]*)\)")
COMMENT = re.compile(r"(?<=  # ).+$", re.MULTILINE)
LABEL = re.compile(r'\|([^|"\n]+)\||[\[(]+([^\[\]()"\n]+)[\])]+')
"""A text of a diagram. One in quotation marks is code."""
HANGUL = re.compile(r"[가-힣]")
LANGUAGES = "[English](README.md) | [한국어](README.ko.md)"

NUMBER_WORDS = {
    "2": ("two", "두"),
    "3": ("three", "세"),
    "4": ("four", "네"),
    "5": ("five", "다섯"),
    "6": ("six", "여섯"),
    "7": ("seven", "일곱"),
    "8": ("eight", "여덟"),
    "9": ("nine", "아홉"),
    "10": ("ten", "열"),
    "20": ("twenty", "스무"),
}
"""Not "one" and "한", which are often pronouns."""
VALUES = {word: value for value, words in NUMBER_WORDS.items() for word in words}
NUMBER = re.compile(
    rf"\b(?:{'|'.join(english for english, _ in NUMBER_WORDS.values())})\b"
    rf"|\b(?:{'|'.join(korean for _, korean in NUMBER_WORDS.values())})(?= ?(?:가지|개|명|번(?!째)|초))"
    r"|\d+(?:[.,]\d+)*",
    re.IGNORECASE,
)

EXCERPT = 60
"""Characters of a piece that a message has."""
LEAST_KOREAN = 0.5
"""The share of Hangul among the letters of a section."""
LEAST_LENGTH = 1 / 3
"""The share of the English text's characters. A translation needs more than half of them."""
SHORT = 60
"""Characters. The translation of a shorter piece may have any length."""
LONGEST_NAME = 4
"""Words. More English words than these in a row are a sentence."""


@dataclass(frozen=True)
class Piece:
    """A piece of a document, such as a paragraph or a code block.

    kind: the first characters of a heading or a code block, otherwise `paragraph`, `item` or `row`.
    """

    kind: str
    text: str

    @property
    def prose(self) -> str:
        """What is to be translated: no code, no target of a link, no file's name as a link."""
        if self.kind == "```console":
            return "\n".join(COMMENT.findall(self.text))
        if self.kind == "```mermaid":
            return "\n".join(first or second for first, second in LABEL.findall(self.text))
        if self.kind.startswith("```"):
            return ""
        words = LINK.sub(lambda link: "" if is_file(link[2]) else link[2], self.text)
        return " ".join(SPAN.sub("", words).split())

    @property
    def code(self) -> str:
        """A code block, with each text that is to be translated replaced by an ellipsis."""
        if self.kind == "```console":
            return COMMENT.sub("…", self.text)
        if self.kind == "```mermaid":
            return LABEL.sub(lambda label: label[0].replace(label[1] or label[2], "…"), self.text)
        return self.text if self.kind.startswith("```") else ""

    @property
    def cells(self) -> list[str]:
        """The prose of each cell of a row, comment of commands and text of a diagram."""
        if self.kind == "row":
            return self.prose.split("|")
        return self.prose.splitlines() if self.code else [self.prose]


def is_file(name: str) -> bool:
    return bool(re.fullmatch(r"[\w./-]+\.\w+|LICENSE", name))


def split(document: str) -> list[list[Piece]]:
    """Return the pieces of each section of a document. The first one is the heading."""
    sections: list[list[Piece]] = []
    for found in PIECE.finditer((PROJECT / document).read_text()):
        kind = found.lastgroup or ""
        if kind == "heading":
            sections.append([])
        name = found[kind] if kind in ("block", "heading") else kind
        sections[-1].append(Piece(name, found[0]))
    return sections


def title(section: list[Piece]) -> str:
    return section[0].text.lstrip("# ")


def names(piece: Piece) -> Counter[str]:
    """Return what stands in backquotes, and the words with an underscore."""
    spans = [] if piece.code else SPAN.findall(piece.text)
    identifiers = re.findall(r"[A-Za-z]+_[A-Za-z_]+", piece.prose)
    return Counter(" ".join(name.split()) for name in [*spans, *identifiers])


def links(piece: Piece) -> Counter[str]:
    """Return the targets of links and images, as README.ko.md has them."""
    found = [] if piece.code else LINK.findall(piece.text)
    return Counter(f"{mark}[…]({TARGETS.get(target, target)})" for mark, _, target in found)


def numbers(piece: Piece) -> Counter[str]:
    """Return the numbers of the prose, in digits."""
    return Counter(VALUES.get(found.lower(), found) for found in NUMBER.findall(piece.prose))


def columns(piece: Piece) -> Counter[str]:
    """Return the lines between the columns of a row."""
    return Counter({"|": SPAN.sub("", piece.text).count("|")} if piece.kind == "row" else {})


def is_left_in_english(piece: Piece) -> bool:
    """Return whether a part of the prose is not translated.

    A cell of a table or a text of a diagram may be a name, with capital letters. A heading or a
    paragraph may not.
    """
    may_be_a_name = piece.kind == "row" or piece.code
    word = r"(?<!\w)[a-z]+(?!\w)" if may_be_a_name else r"[A-Za-z]"
    sentence = rf"(?:[A-Za-z][\w'-]* ){{{LONGEST_NAME}}}[A-Za-z]"
    untranslated = [
        cell for cell in piece.cells if re.search(word, cell) and not HANGUL.search(cell)
    ]
    return bool(untranslated or re.search(sentence, piece.prose, re.ASCII))


ENGLISH = split("README.md")
KOREAN = split("README.ko.md")
TARGETS = {"docs/console.png": "docs/console.ko.png"} | {
    f"#{anchor(title(english))}": f"#{anchor(title(korean))}"
    for english, korean in zip(ENGLISH, KOREAN, strict=False)
}
"""Targets of links and images in README.md → those in README.ko.md."""
LEVELS, KOREAN_LEVELS = ([section[0].kind for section in each] for each in (ENGLISH, KOREAN))
EACH_SECTION = pytest.mark.parametrize(
    "count", [pytest.param(count, id=title(section)) for count, section in enumerate(ENGLISH)]
)


def kinds(section: list[Piece]) -> list[str]:
    return [piece.kind for piece in section]


def pairs(count: int) -> list[tuple[Piece, Piece]]:
    """Return the pieces of a section, the English and the Korean one side by side."""
    if LEVELS != KOREAN_LEVELS:
        pytest.skip("test_headings_are_the_same fails")
    if kinds(ENGLISH[count]) != kinds(KOREAN[count]):
        pytest.skip("test_sections_have_the_same_pieces fails")
    return list(zip(ENGLISH[count], KOREAN[count], strict=True))


def instructions(expected: Counter[str], found: Counter[str]) -> str:
    """Return what to write and what to delete."""
    steps = {"write": expected - found, "delete": found - expected}
    return ", ".join(f"{verb} {part}" for verb in steps for part in steps[verb].elements())


def excerpt(piece: Piece) -> str:
    """Return the beginning of a piece, for messages."""
    return " ".join(piece.text.split())[:EXCERPT]


def outline(piece: Piece) -> str:
    """Return what a piece and its translation have in common."""
    return " ".join([piece.kind, *names(piece)])


def changes(korean: str, english: str) -> str:
    """Return how to change the text of README.ko.md, line by line."""
    lines = unified_diff(korean.splitlines(), english.splitlines(), n=0, lineterm="")
    return "\n".join(line for line in lines if not line.startswith(("---", "+++", "@@")))


@pytest.mark.parametrize("document", ["README.md", "README.ko.md"])
def test_every_line_is_compared(document: str) -> None:
    rest = PIECE.sub("", (PROJECT / document).read_text())
    assert not rest.split(), f"{document}: PIECE of this test does not find {rest.split()}"


def test_headings_are_the_same() -> None:
    lines = zip_longest(ENGLISH, KOREAN, fillvalue=[Piece("", "nothing")])
    side_by_side = "\n".join(f"{english[0].text} | {korean[0].text}" for english, korean in lines)
    assert LEVELS == KOREAN_LEVELS, (
        f"README.md and README.ko.md must have the same headings in the same order:\n{side_by_side}"
    )


@EACH_SECTION
def test_sections_have_the_same_pieces(count: int) -> None:
    if LEVELS != KOREAN_LEVELS:
        pytest.skip("test_headings_are_the_same fails")
    english, korean = ENGLISH[count], KOREAN[count]
    assert kinds(english) == kinds(korean), (
        f"README.ko.md, {title(korean)}: write the same paragraphs, items, rows and code blocks as"
        f" in README.md, {title(english)}:\n"
        + changes("\n".join(map(outline, korean)), "\n".join(map(outline, english)))
    )


@EACH_SECTION
def test_code_blocks_are_the_same(count: int) -> None:
    """The comments of commands and the texts of diagrams are translated."""
    for english, korean in pairs(count):
        assert english.code == korean.code, (
            f"README.ko.md, {title(KOREAN[count])}: change the code block to that of README.md:\n"
            + changes(korean.code, english.code)
        )


@EACH_SECTION
@pytest.mark.parametrize("part", [names, links, numbers, columns])
def test_pieces_have_the_same_parts(part: Callable[[Piece], Counter[str]], count: int) -> None:
    for english, korean in pairs(count):
        expected, found = part(english), part(korean)
        assert expected == found, (
            f"README.ko.md, {title(KOREAN[count])}: {instructions(expected, found)}, as in"
            f" README.md, in: {excerpt(korean)}"
        )


@EACH_SECTION
def test_no_piece_is_left_in_english(count: int) -> None:
    for _, korean in pairs(count):
        assert not is_left_in_english(korean), (
            f"README.ko.md, {title(KOREAN[count])}: translate: {excerpt(korean)}"
        )


@EACH_SECTION
def test_section_is_korean(count: int) -> None:
    prose = " ".join(korean.prose for _, korean in pairs(count))
    hangul, latin = len(HANGUL.findall(prose)), len(re.findall(r"[A-Za-z]", prose))
    assert hangul > LEAST_KOREAN * (hangul + latin), (
        f"README.ko.md, {title(KOREAN[count])}: translate the section, of {hangul + latin} letters"
        f" only {hangul} are Korean"
    )


@EACH_SECTION
def test_no_piece_is_shortened(count: int) -> None:
    for english, korean in pairs(count):
        length, least = len(korean.prose), LEAST_LENGTH * len(english.prose)
        assert length >= least or len(english.prose) < SHORT, (
            f"README.ko.md, {title(KOREAN[count])}: translate all of: {excerpt(english)}"
        )


@pytest.mark.parametrize("document", ["README.md", "README.ko.md"])
def test_readmes_link_to_each_other_below_the_title(document: str) -> None:
    lines = (PROJECT / document).read_text().splitlines()
    assert lines[1:4] == ["", LANGUAGES, ""], f"{document}: write {LANGUAGES} below the title"


@pytest.mark.parametrize(
    ("kind", "text", "left"),
    [
        ("##", "## Questions", True),
        ("##", "## 질문", False),
        ("paragraph", "No deployment yet.", True),
        ("paragraph", "배포한 적이 없습니다. No deployment has been made yet.", True),
        ("paragraph", "Visual Studio Code에서 Lambda, SNS, SQS, RDS, IAM을 씁니다.", False),
        ("paragraph", "`make up`", False),
        ("paragraph", "[docs/contract.md](docs/contract.md)", False),
        ("row", "| Debian 12 | MariaDB | `make up` |", False),
        ("row", "| Debian 12 | in the template | 없음 |", True),
        ("```console", "```console\n$ make up  # opens the shop\n```", True),
        ("```console", "```console\n$ make up  # 가게를 연다\n$ make  # lists\n```", True),
        ("```console", "```console\n$ make up  # 가게를 연다\n```", False),
        ("```mermaid", "```mermaid\napi[HTTP API] -->|callback| restock\n```", True),
        ("```mermaid", "```mermaid\napi[HTTP API] -->|콜백| restock\n```", False),
    ],
)
def test_text_that_is_left_in_english_is_found(kind: str, text: str, left: bool) -> None:
    assert is_left_in_english(Piece(kind, text)) is left


@pytest.mark.parametrize(
    ("english", "korean"),
    [
        ("within three seconds", "3초 안에"),
        ("Ten defects", "열 가지 결함"),
        ("1.2 GB, and 1,000 more", "1,000개를 더해 1.2 GB"),
        ("the second customer, on one machine", "두 번째 손님, 컴퓨터 한 대에서"),
        ("to open the shop", "가게를 열 수 있다"),
    ],
)
def test_numbers_are_the_same_in_digits_and_words(english: str, korean: str) -> None:
    assert numbers(Piece("paragraph", english)) == numbers(Piece("paragraph", korean))
