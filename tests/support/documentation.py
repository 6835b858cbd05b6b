"""The commands that a document tells people to type, and the commands that the Makefile has."""

import os
import re
import subprocess
from functools import cache

from settings import PROJECT

BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)


def sections(document: str) -> dict[str, str]:
    """Return the text under each second-level heading, by heading."""
    parts = re.split(r"^## (.+)$", (PROJECT / document).read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def anchor(heading: str) -> str:
    """Return the anchor that GitHub gives a heading."""
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def blocks(text: str, language: str) -> list[str]:
    """Return the contents of the fenced code blocks in this language."""
    return [body for _, name, body in BLOCK.findall(text) if name == language]


def commands(text: str) -> list[str]:
    """Return the commands after the prompts of the `console` blocks, without their comments.

    A command goes on after a line that ends in a backslash.
    """
    prompts = [
        re.findall(r"^ *\$ ((?:.+\\\n)*.+?)(?:\s{2,}#.*)?$", body, re.MULTILINE)
        for body in blocks(text, "console")
    ]
    return [command for block in prompts for command in block]


def make_targets(text: str) -> set[str]:
    """Return the targets of all `make` commands in the text, for any environment."""
    return set(re.findall(r"(?:`|\$ )(?:[A-Z_]+=\S+ )*make ([a-z0-9-]+)", text))


def makefile_targets() -> set[str]:
    """Return the targets that the Makefile has rules for."""
    lines = (PROJECT / "Makefile").read_text().splitlines()
    return {
        target
        for line in lines
        if re.match(r"[a-z0-9 -]+:(?!=)", line)
        for target in line.partition(":")[0].split()
    }


def shell_variables() -> dict[str, str]:
    """Return this process's variables, without those with which a make calls another one."""
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }


@cache
def works_in(environment: str, target: str) -> bool:
    """Return whether the Makefile accepts the target for this environment.

    A target that pays no attention to ENV accepts an environment that does not exist, too, and does
    not count.
    """
    return _accepts(environment, target) and not _accepts("nowhere", target)


def _accepts(environment: str, target: str) -> bool:
    """Return whether make would run the target, which it does not run."""
    done = subprocess.run(
        ["make", "--dry-run", f"ENV={environment}", target],
        cwd=PROJECT,
        env=shell_variables(),
        capture_output=True,
        check=False,
        timeout=30,
    )
    return done.returncode == 0
