"""Find MariaDB's programs, or unpack them into the project.

This module runs before anything is installed, so it imports the standard library only.
"""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from local.debian import PROJECT, NotUnpacked, has_tools, keep, unpacked, write_wrappers
from local.files import write_whole

PROGRAMS = ("mariadbd", "mariadb-install-db", "mariadb", "mariadb-dump")
UNPACKED = PROJECT / ".venv/mariadb"
PAM_PLUGIN = UNPACKED / "auth_pam.so"
SEARCH_PATH = os.pathsep.join(
    [str(UNPACKED / "bin"), os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"]
)
PACKAGES = ("mariadb-client", "mariadb-server")
"""Packages of which single files are needed: a program, and the plugin for logins."""
PACKAGES_WITH_LIBRARIES = ("mariadb-server-core", "mariadb-client-core")
NEEDED = (
    "usr/sbin/mariadbd",
    *(f"usr/bin/{name}" for name in (*PROGRAMS[1:], "my_print_defaults", "resolveip")),
    "usr/share/mysql/**/*",
    "usr/share/mariadb/**/*",
    "lib/**/*.so.*",
    "usr/lib/*/*.so.*",
)
"""Patterns for the files that are kept."""
HOW_TO_INSTALL = (
    "Install MariaDB's server and its client, version 10.11 if there is a choice."
    " Fedora: sudo dnf install mariadb-server. macOS: brew install mariadb"
)
RUN_PROGRAM = 'exec "$root/{path}" "$@"'
RUN = {
    "mariadbd": 'exec "$root/{path}" "$@" --basedir="$root/usr"',
    # This script does not support spaces in its own path.
    "mariadb-install-db": 'ln -sfn "$root/usr" ./basedir && exec "$root/{path}" "$@" --basedir=./basedir',
}
"""The line of a wrapper that tells its program where its files are. Other programs find theirs."""


def missing() -> list[str]:
    """Return the programs that are neither installed nor unpacked."""
    return [name for name in PROGRAMS if not shutil.which(name, path=SEARCH_PATH)]


def program(name: str) -> str:
    """Return the path of one of MariaDB's programs. Raises FileNotFoundError."""
    path = shutil.which(name, path=SEARCH_PATH)
    if path is None:
        raise FileNotFoundError(f"{name} is missing: run `make install`")
    return path


@cache
def version() -> str:
    """Return the server's version, for example 10.11.19."""
    printed = subprocess.run(
        [program("mariadbd"), "--version"], capture_output=True, text=True, check=True
    ).stdout
    return re.findall(r"Ver (\d+\.\d+\.\d+)", printed)[0]


def problem() -> str | None:
    """Return which programs are missing, if they cannot be unpacked, and how to get them, or None."""
    return None if has_tools() else _missing()


def install() -> None:
    """Unpack what is missing from the packages of the distribution. Raises NotUnpacked.

    The plugin may stay missing, as on a system that is not derived from Debian.
    """
    absent, reason = missing(), ""
    if not absent and PAM_PLUGIN.exists():
        return
    try:
        with unpacked(
            PACKAGES if absent else PACKAGES[-1:],
            with_libraries_of=PACKAGES_WITH_LIBRARIES if absent else (),
        ) as root:
            (plugin,) = root.rglob(PAM_PLUGIN.name)
            write_whole(PAM_PLUGIN, plugin.read_bytes())
            if absent:
                _keep(root)
    except NotUnpacked as error:
        reason = f"{error}\n"
    if message := _missing():
        raise NotUnpacked(reason + message)


def _missing() -> str | None:
    """Return which programs are missing and how to get them, or None."""
    absent = missing()
    return f"MariaDB is missing ({', '.join(absent)}). {HOW_TO_INSTALL}" if absent else None


def _keep(root: Path) -> None:
    """Move the needed files to `UNPACKED`, and write a wrapper of the same name for each program."""
    kept = keep(root, needed=NEEDED, under=UNPACKED)
    commands = {
        path.name: RUN.get(path.name, RUN_PROGRAM).format(path=path.relative_to(kept))
        for path in (*kept.glob("usr/bin/mariadb*"), *kept.glob("usr/sbin/mariadb*"))
    }
    write_wrappers(kept, commands)


if __name__ == "__main__":
    try:
        install()
    except NotUnpacked as error:
        sys.exit(str(error))
