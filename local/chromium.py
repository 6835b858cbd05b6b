"""Find a Chromium, or unpack Debian's into the project, for the tests and the pictures.

This module runs before the tests' packages are installed, so it imports the standard library only.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from local.debian import (
    PROJECT,
    NotUnpacked,
    has_tools,
    keep,
    library_folders,
    unpacked,
    write_wrappers,
)
from local.files import write_whole

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
UNPACKED = PROJECT / ".venv/chromium"
PROGRAM = "chromium"
PACKAGES = ("fonts-nanum", "fonts-dejavu-core")
"""Fonts, because few machines without a screen have one for Korean. The second has symbols."""
PACKAGES_WITH_LIBRARIES = ("chromium-headless-shell",)
EXECUTABLE = "usr/lib/chromium/chromium-headless-shell"
NEEDED = (
    EXECUTABLE,
    "usr/lib/chromium/headless_*.pak",
    "usr/lib/chromium/icudtl.dat",
    "usr/lib/chromium/v8_context_snapshot.bin",
    "usr/lib/chromium/libEGL.so",
    "usr/lib/chromium/libGLESv2.so",
    # Libraries that libnss3.so loads by itself. _libraries() finds the others.
    "usr/lib/*-linux-*/**/libsoftokn3.so",
    "usr/lib/*-linux-*/**/libfreebl*.so",
    "usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "usr/share/fonts/truetype/nanum/NanumGothic.ttf",
    "usr/share/fonts/truetype/nanum/NanumGothicBold.ttf",
    "usr/share/fonts/truetype/nanum/NanumGothicCoding*.ttf",
)
"""Patterns for the files that are kept."""
RUN = f'FONTCONFIG_FILE="$root/../fonts.conf" exec "$root/{EXECUTABLE}" "$@"'
FONTS = """\
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir>{fonts}</dir>
  <cachedir>{cache}</cachedir>
  <match>
    <test name="family"><string>monospace</string></test>
    <edit name="family" binding="strong"><string>NanumGothicCoding</string></edit>
  </match>
  <match>
    <edit name="family" mode="append" binding="strong"><string>NanumGothic</string></edit>
  </match>
</fontconfig>
"""
"""fontconfig's settings: only the unpacked fonts, so that pages look the same on each machine."""


def chromium() -> str | None:
    """Return the path of a Chromium that runs, or None.

    It is the one that the variable CHROMIUM names, one that is installed, or the unpacked one.
    """
    named = os.environ.get("CHROMIUM")
    names = (named,) if named else (*NAMES, str(UNPACKED / "bin" / PROGRAM))
    return next((path for path in map(shutil.which, names) if path and _runs(path)), None)


def problem() -> str | None:
    """Return why there is no browser, and how to get one, or None."""
    if chromium():
        return None
    if named := os.environ.get("CHROMIUM"):
        return f"CHROMIUM names a browser that does not run: {named}"
    how = "Install Chromium or Chrome, or name one: CHROMIUM=/path/to/it"
    if can_be_unpacked():
        how = f"Delete {UNPACKED}/installed and run `make install`"
    return f"No browser was found: none of {', '.join(NAMES)} is on the PATH and works. {how}"


def can_be_unpacked() -> bool:
    """Return whether the distribution has Chromium as a package. Ubuntu's only installs a snap."""
    return has_tools() and "ubuntu" not in _distribution()


def install() -> None:
    """Unpack Chromium if there is none, where that is possible. Raises NotUnpacked."""
    if chromium() or os.environ.get("CHROMIUM") or not can_be_unpacked():
        return
    with unpacked(PACKAGES, with_libraries_of=PACKAGES_WITH_LIBRARIES) as root:
        kept = keep(root, needed=(*NEEDED, *_libraries(root)), under=UNPACKED)
    fonts = FONTS.format(
        fonts=escape(str(kept.resolve())), cache=escape(str(UNPACKED.resolve() / "cache"))
    )
    write_whole(UNPACKED / "fonts.conf", fonts)
    write_wrappers(kept, {PROGRAM: RUN})
    if not chromium():
        raise NotUnpacked(f"The unpacked Chromium does not run: {UNPACKED}/bin/{PROGRAM}")


def _libraries(root: Path) -> Iterator[str]:
    """Yield the unpacked libraries that the executable is linked with.

    The packages have many more: the compiler in Mesa's drivers is half as large as the browser.
    """
    root = root.resolve()  # as the links to libraries are below
    folders = os.pathsep.join(map(str, library_folders(root)))
    printed = subprocess.run(
        ["ldd", root / EXECUTABLE],
        env=os.environ | {"LD_LIBRARY_PATH": folders, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for found in map(Path, re.findall(r"=> (.+) \(0x", printed)):
        if found.is_relative_to(root):
            yield from (str(path.relative_to(root)) for path in {found, found.resolve()})


def _runs(path: str) -> bool:
    """Return whether a program is a browser that can be driven.

    A snap cannot: it does not see the temporary directory in which its profile would be. Ubuntu's
    package without its snap is a script that only says what to install.
    """
    if Path(path).resolve().name == "snap":
        return False
    done = subprocess.run(
        [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return done.returncode == 0


def _distribution() -> list[str]:
    """Return the names by which the system and those that it is derived from are known."""
    try:
        lines = platform.freedesktop_os_release()
    except OSError:
        return []
    return [lines["ID"], *lines.get("ID_LIKE", "").split()]


if __name__ == "__main__":
    try:
        install()
    except NotUnpacked as error:
        sys.exit(str(error))
