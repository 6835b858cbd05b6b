"""The commands that a document tells people to type."""

import re

from settings import PROJECT

BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def sections(document: str) -> dict[str, str]:
    """Each section's text under its heading."""
    parts = re.split(r"^## (.+)$", (PROJECT / document).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(text: str, language: str) -> list[str]:
    return [body for _, name, body in BLOCK.findall(text) if name == language]


def commands(text: str) -> list[str]:
    """What follows the prompts of its console blocks, without the remarks."""
    prompts = [
        re.findall(r"^ *\$ (.+?)(?:\s{2,}#.*)?$", body, re.MULTILINE)
        for body in blocks(text, "console")
    ]
    return [command for block in prompts for command in block]


def make_targets(text: str) -> set[str]:
    """Every `make` command in it, in whatever environment."""
    return set(re.findall(r"(?:`|\$ )(?:[A-Z_]+=\S+ )*make ([a-z-]+)", text))


def makefile_targets() -> set[str]:
    lines = (PROJECT / "Makefile").read_text().splitlines()
    return {
        target
        for line in lines
        if re.match(r"[a-z -]+:(?!=)", line)
        for target in line.partition(":")[0].split()
    }
