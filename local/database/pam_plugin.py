"""Install MariaDB's PAM plugin for a server.

It stands in for RDS's plugin for logins with IAM tokens. Like RDS's, it asks for the password in
clear text over TLS, and a program in a directory beside it accepts or rejects the login. Here that
program runs `pam_helper.py`, so that neither PAM nor root is needed.

The plugin is unpacked into `.venv`, which several checkouts may share. Each server has a copy of
its own, beside a program that runs the helper of the checkout that started the server.
"""

import os
import shlex
import sys
from pathlib import Path

from local.debian import unpacked
from local.files import write_whole
from settings import PROJECT

UNPACKED = PROJECT / ".venv/mariadb/auth_pam.so"
PLUGIN = "auth_pam.so"
TOOL = "auth_pam_tool_dir/auth_pam_tool"
"""The program, where the plugin expects it: in a directory beside the plugin."""
PACKAGE = "mariadb-server"


def install(directory: Path) -> None:
    """Install the plugin in a server's plugin directory.

    Install nothing if the plugin cannot be downloaded, as on a system that is not derived from
    Debian.
    """
    if not UNPACKED.exists() and (plugin := unpacked(PACKAGE, ending="/plugin/auth_pam.so")):
        _write_bytes(UNPACKED, plugin)
    if UNPACKED.exists():
        _write_bytes(directory / PLUGIN, UNPACKED.read_bytes())
        _write_tool(directory / TOOL)


def _write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole. Leave it alone if it has this content: a server may have loaded it."""
    if path.exists() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(content)
    unfinished.rename(path)


def _write_tool(path: Path) -> None:
    """Write the program that the plugin runs.

    It holds a path that changes when the project is moved.
    """
    tool = shlex.join([sys.executable, "-I", "-S", str(PROJECT / "local/database/pam_helper.py")])
    script = f"#!/bin/sh\nexec {tool}\n"
    if not path.exists() or path.read_text() != script:
        write_whole(path, script, mode=0o755)


def options(directory: Path) -> list[str]:
    """Return the server options that load the plugin, or none if it is not installed."""
    if not (directory / PLUGIN).exists():
        return []
    return [
        f"--plugin-dir={directory}",
        "--plugin-load-add=auth_pam",
        "--loose-pam-use-cleartext-plugin=ON",
    ]
