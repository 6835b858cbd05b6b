"""Read files from Debian's and Ubuntu's packages without installing them, as any user.

Nothing outside the project changes. The machine's package lists are used if it has some that are
recent enough. Otherwise, new ones are downloaded into the project and deleted again.
"""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from local.files import write_whole

PROJECT = Path(__file__).resolve().parents[1]
MACHINES_LISTS = Path("/var/lib/apt/lists")
SETTINGS = """
Dir::State "{directory}/state";
Dir::Cache "{directory}/cache";
Dir::Log "{directory}/log";
Dir::State::Lists "{lists}";
Debug::NoLocking "true";
APT::Sandbox::User "root";
APT::Install-Recommends "false";
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Update::Post-Invoke-Stats;
"""
"""apt's settings, which apt reads after the machine's own.

Container images make apt delete what it has downloaded. The lines with `#clear` prevent that.
"""

DOWNLOAD_ONLY = ["--download-only", "--reinstall", "--yes"]
"""Options of `apt-get install`: install nothing, and also download what is installed already."""

WRAPPER = """\
#!/bin/sh
root="${{0%/*}}/../root"
export LD_LIBRARY_PATH="{libraries}"
{run}
"""


class NotUnpacked(Exception):
    """The packages could not be downloaded. The message is apt's."""


def has_tools() -> bool:
    """Return whether the system is Debian or derived from it."""
    return all(shutil.which(program) for program in ("apt-get", "dpkg-deb"))


@contextmanager
def unpacked(packages: Sequence[str], *, with_libraries_of: Sequence[str] = ()) -> Iterator[Path]:
    """Download packages, and yield the directory with their files, until the end of the block.

    with_libraries_of: further packages, which are unpacked together with those packages that they
    need and the machine lacks. Raises NotUnpacked.
    """
    if not has_tools():
        raise NotUnpacked("apt-get and dpkg-deb are missing")
    with tempfile.TemporaryDirectory(dir=_created(PROJECT / ".venv")) as name:
        directory = Path(name)
        archives = _created(directory / "cache/archives/partial").parent
        lists = _created(directory / "state/lists/partial").parent
        commands = [
            *([["download", *packages]] if packages else []),
            *([["install", *DOWNLOAD_ONLY, *with_libraries_of]] if with_libraries_of else []),
        ]

        def apt(*arguments: str, using: Path) -> str:
            """Run apt-get. Return its error message, which is empty if it succeeded."""
            settings = directory / "apt.conf"
            settings.write_text(SETTINGS.format(directory=directory, lists=using))
            done = subprocess.run(
                ["apt-get", "-qq", f"--config-file={settings}", *arguments],
                cwd=archives,
                env=os.environ | {"LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
            return (done.stderr or "apt-get failed\n") if done.returncode else ""

        if any(apt(*command, using=MACHINES_LISTS) for command in commands):
            # One of several sources may fail, while the others have the packages.
            problem = apt("update", using=lists)
            for command in commands:
                if error := apt(*command, using=lists):
                    raise NotUnpacked(f"{problem}{error}")
        for archive in archives.glob("*.deb"):
            subprocess.run(["dpkg-deb", "--extract", archive, directory / "root"], check=True)
        yield directory / "root"


def keep(root: Path, *, needed: Sequence[str], under: Path) -> Path:
    """Move the needed files of unpacked packages to `under`/root, and return that directory.

    needed: patterns for the files. What was kept before, and its scripts, are deleted.
    """
    kept = under / "root"
    for replaced in (under / "bin", kept):
        shutil.rmtree(replaced, ignore_errors=True)
    for file in {path for pattern in needed for path in root.glob(pattern) if not path.is_dir()}:
        target = kept / file.relative_to(root)
        target.parent.mkdir(parents=True, exist_ok=True)
        file.rename(target)
    return kept


def library_folders(root: Path) -> list[Path]:
    """Return the directories that hold shared libraries."""
    return sorted({path.parent for path in root.rglob("lib*.so*")})


def write_wrappers(kept: Path, commands: Mapping[str, str]) -> None:
    """Write a script for each program into the directory `bin` beside that of the kept files.

    The script tells the program where its libraries are. commands: the script's name → the line
    of a shell that runs the program, in which `$root` is the directory of the kept files.
    """
    libraries = ":".join(f"$root/{folder.relative_to(kept)}" for folder in library_folders(kept))
    for name, run in commands.items():
        wrapper = WRAPPER.format(libraries=libraries, run=run)
        write_whole(kept.parent / "bin" / name, wrapper, mode=0o777)


def _created(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory
