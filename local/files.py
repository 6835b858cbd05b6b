"""Write files whole or not at all, lock them, and pack and unpack archives."""

import fcntl
import os
import shutil
import tempfile
import threading
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path

_unpacking = threading.Lock()


def write_whole(path: Path, content: str | bytes, *, mode: int = 0o666) -> None:
    """Write a file, and create its directory if needed. Text is written in UTF-8.

    A concurrent reader sees the old content or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)  # `mode` applies to new files only
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path, *, busy: Exception) -> Iterator[None]:
    """Hold the lock of a file, which may be another user's, in the block.

    Raises `busy` if another process holds it.
    """
    file = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise busy from None
        yield
    finally:
        os.close(file)


def zipped(directory: Path) -> bytes:
    """Return a ZIP archive of the directory's files."""
    content = BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in directory.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(directory))
    return content.getvalue()


def unpack(archives: Sequence[bytes], *, under: Path) -> Path:
    """Unpack ZIP archives over each other into a read-only directory, and return its path.

    The same archives always get the same directory, which is written only once.
    """
    digest = sha256(b"".join(sha256(archive).digest() for archive in archives)).hexdigest()
    directory = under / digest[:32]
    with _unpacking:
        if not directory.exists():
            under.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=under))
            for archive in archives:
                with zipfile.ZipFile(BytesIO(archive)) as opened:
                    opened.extractall(temporary)
            for path in temporary.rglob("*"):
                path.chmod(0o555)
            temporary.rename(directory)
            directory.chmod(0o555)
    return directory


def delete_tree(directory: Path) -> None:
    """Delete a directory and its content, read-only directories included.

    Do nothing if it does not exist.
    """
    for folder, _, _ in os.walk(directory):
        with suppress(OSError):
            os.chmod(folder, 0o700)
    shutil.rmtree(directory, ignore_errors=True)
