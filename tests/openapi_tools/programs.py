"""The programs in Node.js that read docs/openapi.yaml."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from local.cloud import NO_PROXY, NODE
from settings import PROJECT

FOLDER = Path(__file__).parent
DOCUMENT = PROJECT / "docs" / "openapi.yaml"
QUIET = {"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"}
"""Variables without which Redocly's program uses the network."""
SECONDS = 60


def are_installed() -> bool:
    return (FOLDER / "node_modules" / "installed").exists()


def run(program: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of the programs in the project's root, and return its output and exit status."""
    return subprocess.run(
        [NODE, FOLDER / "node_modules" / ".bin" / program, *arguments],
        cwd=PROJECT,
        env={"PATH": os.environ["PATH"], **NO_PROXY, **QUIET},
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
    )


def converted(resolution: str) -> dict[str, Any]:
    """Return the collection that Postman makes when it imports docs/openapi.yaml.

    resolution: `Example` takes values from the examples, `Schema`, which is Postman's default, makes
    them up.
    """
    with tempfile.TemporaryDirectory() as directory:
        written = Path(directory) / "collection.json"
        options = f"parametersResolution={resolution}"
        done = run("openapi2postmanv2", "-s", DOCUMENT, "-o", written, "-O", options)
        assert written.exists(), done.stdout + done.stderr
        return dict(json.loads(written.read_text()))
