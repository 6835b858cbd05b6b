"""Run uv with the index and the certificates that pip would use on this machine.

uv reads none of pip's settings. It trusts the certificates that it brings, which do not include
those of a company's own network.
"""

import os
import re
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
UV = Path(sys.executable).with_name("uv")


def variables(pip_settings: str, *, has_certificates: bool) -> dict[str, str]:
    """Return uv's variables.

    pip_settings: the output of `pip config list`. has_certificates: whether the machine has some.
    """
    index = re.search(r"^\S+\.index-url='(.+)'$", pip_settings, re.MULTILINE)
    return {
        **({"UV_DEFAULT_INDEX": index[1]} if index else {}),
        **({"UV_SYSTEM_CERTS": "true"} if has_certificates else {}),
    }


def main() -> int:
    """Run uv. Its cache is deleted afterwards, because nothing is installed twice.

    The cache is on the disk of the project, so that its files become those of the packages.
    """
    pip_settings = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    has_certificates = bool(ssl.create_default_context().cert_store_stats()["x509_ca"])
    settings = variables(pip_settings, has_certificates=has_certificates)
    with tempfile.TemporaryDirectory(dir=PROJECT / ".venv") as cache:
        own = {"UV_CACHE_DIR": cache, "VIRTUAL_ENV": sys.prefix, "UV_PYTHON_DOWNLOADS": "never"}
        given = settings | os.environ | own
        return subprocess.run([UV, *sys.argv[1:]], env=given, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
