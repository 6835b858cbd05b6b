"""Read files from Debian's packages without installing them.

Nothing outside the project changes.
"""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path


def unpacked(package: str, *, ending: str) -> bytes | None:
    """Return the package's file whose path has this ending.

    Return None if the system is not Debian or derived from it, or if the package cannot be
    downloaded.
    """
    if not shutil.which("apt-get"):
        return None
    with tempfile.TemporaryDirectory() as directory:
        download = ["apt-get", "download", "-qq", package]
        done = subprocess.run(download, cwd=directory, capture_output=True, check=False)
        if done.returncode and os.getuid() == 0:
            # A new machine has no package lists yet.
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
            subprocess.run(download, cwd=directory, capture_output=True, check=False)
        for archive in Path(directory).glob("*.deb"):
            content = subprocess.run(
                ["dpkg-deb", "--fsys-tarfile", archive], capture_output=True, check=True
            ).stdout
            with tarfile.open(fileobj=io.BytesIO(content)) as files:
                for member in files:
                    if member.isfile() and member.name.endswith(ending):
                        file = files.extractfile(member)
                        return file.read() if file else None
    return None
