"""Tell the stories in the terminal, on the shop that runs on this machine.

The exit status is 0 only if every story passes, which includes that the books balance.
"""

import argparse
import sys
import time
from pathlib import Path

from console.shop import Shop
from console.stories import STORIES, tell, telling
from console.texts import TEXTS, language
from local.cloud import Cloud
from local.processes import LocalError
from operations import aws

INDENTED = "  "


class Narrator:
    """Prints what the stories say, in one language."""

    def __init__(self, language: str) -> None:
        self._texts = TEXTS[language]

    def __call__(self, key: str, /, **values: object) -> None:
        """Print the text of the key with its values. Headings follow an empty line."""
        text = self._texts[key].format(**values)
        if key.endswith(".expectation"):
            text = self._texts["expected"].format(expectation=text)
        is_heading = key.endswith(".title") or key in ("all_passed", "some_failed")
        print(f"\n{text}" if is_heading else f"{INDENTED}{text}", flush=True)


def tell_all(names: list[str], shop: Shop, say: Narrator) -> list[str]:
    """Tell the stories, and return the names of those that failed."""
    failed = []
    for name in names:
        began = time.monotonic()
        try:
            tell(name, shop, say)
        except Exception as error:  # whatever fails, the other stories are told
            say("failed", reason=str(error) or type(error).__name__)
            failed.append(name)
        else:
            say("passed", seconds=round(time.monotonic() - began, 1))
    return failed


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m console.demo", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--directory", type=Path, required=True, help="of the local cloud")
    parser.add_argument("--only", default="", help="the name of one story")
    parser.add_argument("--language", default="", help="ko or en")
    arguments = parser.parse_args()
    if arguments.only not in ("", *STORIES):
        sys.exit(f"There is no story {arguments.only!r}: choose one of {', '.join(STORIES)}")
    if not __debug__:
        sys.exit("Python leaves out assertions (PYTHONOPTIMIZE), so no story could fail.")
    say = Narrator(language(arguments.language))
    names = [arguments.only] if arguments.only else list(STORIES)
    try:
        with aws.errors_as_sentences():
            shop = Shop(Cloud(arguments.directory))
        with telling(shop):
            shop.heal()
            failed = tell_all(names, shop, say)
    except LocalError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted.")
    if failed:
        say("some_failed", count=len(names), names=", ".join(failed))
        sys.exit(1)
    say("all_passed", count=len(names))


if __name__ == "__main__":
    main()
