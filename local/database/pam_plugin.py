"""RDS's IAM login on a local MariaDB: the PAM plugin, without PAM.

Like RDS's own it asks for the password in clear text over TLS. It leaves the decision to a program beside it, here
`pam_helper.py`: nothing is set up outside the project, and neither PAM nor root has a part in it.
"""

import os
import shlex
import sys

from local.debian import unpacked
from settings import PROJECT

DIRECTORY = PROJECT / ".venv/mariadb"
PLUGIN = DIRECTORY / "auth_pam.so"
TOOL = DIRECTORY / "auth_pam_tool_dir/auth_pam_tool"
PACKAGE = "mariadb-server"


def install() -> None:
    """On Debian and its kin; elsewhere, or offline, there is none."""
    if not PLUGIN.exists() and (plugin := unpacked(PACKAGE, ending="/plugin/auth_pam.so")):
        TOOL.parent.mkdir(parents=True, exist_ok=True)
        tool = shlex.join(
            [sys.executable, "-I", "-S", str(PROJECT / "local/database/pam_helper.py")]
        )
        TOOL.write_text(f"#!/bin/sh\nexec {tool}\n")
        TOOL.chmod(0o755)
        unfinished = PLUGIN.with_suffix(f".{os.getpid()}")
        unfinished.write_bytes(plugin)
        unfinished.rename(PLUGIN)


def options() -> list[str]:
    """The server's."""
    if not PLUGIN.exists():
        return []
    return [
        f"--plugin-dir={DIRECTORY}",
        "--plugin-load-add=auth_pam",
        "--loose-pam-use-cleartext-plugin=ON",
    ]
