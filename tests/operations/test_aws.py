"""How operators' commands end when something around them fails."""

import os
import subprocess
import sys

import pytest

from settings import PROJECT

PRINTING = """
from operations.aws import errors_as_sentences
with errors_as_sentences():
    print({text})
"""


@pytest.mark.parametrize("text", ["'a'", "'a' * 100_000"], ids=["buffered", "written"])
def test_command_ends_silently_when_its_reader_has_ended(text: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", PRINTING.format(text=text)],
        cwd=PROJECT,
        stdout=writer,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 1
