"""Install MariaDB's PAM plugin for a server.

It stands in for RDS's plugin for logins with IAM tokens. Like RDS's, it asks for the password in
clear text over TLS, and a program in a directory beside it accepts or rejects the login. Here that
program runs `pam_helper.py`, so that neither PAM nor root is needed.

The plugin is unpacked into `.venv`, which several checkouts may share. Each server has a copy of
its own, beside a program that runs the helper of the checkout that started the server.
"""

import shlex
import sys
from pathlib import Path

from local.database.programs import PAM_PLUGIN
from local.files import write_whole
from settings import PROJECT

PLUGIN = PAM_PLUGIN.name
TOOL = "auth_pam_tool_dir/auth_pam_tool"
"""The program, where the plugin expects it: in a directory beside the plugin."""


def install(directory: Path) -> None:
    """Install the plugin in a server's plugin directory.

    Install nothing if it is missing, as on a system that is not derived from Debian.
    """
    if PAM_PLUGIN.exists():
        _update(directory / PLUGIN, PAM_PLUGIN.read_bytes())
        _update(directory / TOOL, _tool(), mode=0o755)


def _update(path: Path, content: bytes, *, mode: int = 0o666) -> None:
    """Write a file. Leave it alone if it has this content: a server may have loaded it."""
    if not path.exists() or path.read_bytes() != content:
        write_whole(path, content, mode=mode)


def _tool() -> bytes:
    """Return the program that the plugin runs.

    It holds a path that changes when the project is moved.
    """
    tool = shlex.join([sys.executable, "-I", "-S", str(PROJECT / "local/database/pam_helper.py")])
    return f"#!/bin/sh\nexec {tool}\n".encode()


def options(directory: Path) -> list[str]:
    """Return the server options that load the plugin, or none if it is not installed."""
    if not (directory / PLUGIN).exists():
        return []
    return [
        f"--plugin-dir={directory}",
        "--plugin-load-add=auth_pam",
        "--loose-pam-use-cleartext-plugin=ON",
    ]
