"""RDS's IAM login on a local MariaDB: the PAM plugin, without PAM.

Like RDS's own it asks for the password in clear text over TLS. It leaves the decision to a program beside it, here
`pam_helper.py`: nothing is set up outside the project, and neither PAM nor root has a part in it.
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
    """Install the plugin on Debian and its kin; elsewhere, or offline, there is none."""
    if not PLUGIN.exists() and (plugin := unpacked(PACKAGE, ending="/plugin/auth_pam.so")):
        PLUGIN.parent.mkdir(parents=True, exist_ok=True)
        unfinished = PLUGIN.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(plugin)
        unfinished.rename(PLUGIN)
    if PLUGIN.exists():
        _write_tool()


def _write_tool() -> None:
    """Write the program that the plugin runs: the project, or the file in it, may have moved since the last start."""
    tool = shlex.join([sys.executable, "-I", "-S", str(PROJECT / "local/database/pam_helper.py")])
    script = f"#!/bin/sh\nexec {tool}\n"
    if not TOOL.exists() or TOOL.read_text() != script:
        write_whole(TOOL, script, mode=0o755)


def options() -> list[str]:
    """The server's."""
    if not PLUGIN.exists():
        return []
    return [
        f"--plugin-dir={DIRECTORY}",
        "--plugin-load-add=auth_pam",
        "--loose-pam-use-cleartext-plugin=ON",
    ]
