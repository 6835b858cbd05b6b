"""Install MariaDB's PAM plugin inside the project.

It stands in for RDS's plugin for logins with IAM tokens. Like RDS's, it asks for the password in
clear text over TLS, and a program in a directory beside it accepts or rejects the login. Here that
program runs `pam_helper.py`, so that neither PAM nor root is needed.
"""

import os
import shlex
import sys

from local.debian import unpacked
from local.files import write_whole
from settings import PROJECT

DIRECTORY = PROJECT / ".venv/mariadb"
PLUGIN = DIRECTORY / "auth_pam.so"
TOOL = DIRECTORY / "auth_pam_tool_dir/auth_pam_tool"
PACKAGE = "mariadb-server"


def install() -> None:
    """Install the plugin if it can be downloaded: on Debian, or a system derived from it."""
    if not PLUGIN.exists() and (plugin := unpacked(PACKAGE, ending="/plugin/auth_pam.so")):
        PLUGIN.parent.mkdir(parents=True, exist_ok=True)
        unfinished = PLUGIN.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(plugin)
        unfinished.rename(PLUGIN)
    if PLUGIN.exists():
        _write_tool()


def _write_tool() -> None:
    """Write the program that the plugin runs.

    It holds a path that changes when the project is moved.
    """
    tool = shlex.join([sys.executable, "-I", "-S", str(PROJECT / "local/database/pam_helper.py")])
    script = f"#!/bin/sh\nexec {tool}\n"
    if not TOOL.exists() or TOOL.read_text() != script:
        write_whole(TOOL, script, mode=0o755)


def options() -> list[str]:
    """Return the server options that load the plugin, or none if it is not installed."""
    if not PLUGIN.exists():
        return []
    return [
        f"--plugin-dir={DIRECTORY}",
        "--plugin-load-add=auth_pam",
        "--loose-pam-use-cleartext-plugin=ON",
    ]
