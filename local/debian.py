"""Files taken out of Debian's packages without installing them: nothing outside the project changes."""

import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path


def unpacked(package: str, *, ending: str) -> bytes | None:
    """Return the file of the package whose path ends so. None: this is not Debian or its kin, or it is offline."""
    if not shutil.which("apt-get"):
        return None
    with tempfile.TemporaryDirectory() as directory:
        download = ["apt-get", "download", "-qq", package]
        done = subprocess.run(download, cwd=directory, capture_output=True, check=False)
        if (
            done.returncode and os.getuid() == 0
        ):  # the machine may never have fetched its package lists
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
