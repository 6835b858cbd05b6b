"""Background processes that outlive the command that started them, remembered by process id and start time."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from local.files import write_whole

CLOCK_TOLERANCE = 2.0
"""Seconds between two readings of a process's wall-clock start time, by which older versions recognized processes."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LocalError(Exception):
    """What went wrong, in words for whoever typed the command."""


class Background:
    """One such process. `stop` never touches a process other than the one that `start` started."""

    def __init__(self, *, name: str, directory: Path) -> None:
        self.name = name
        self.record = directory / "processes" / f"{name}.json"
        self.log = directory / "logs" / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> psutil.Process | None:
        """The process, if it is running and still the one that was recorded."""
        self._reap()
        record = self._read_record()
        try:
            process = psutil.Process(record["pid"])
            if "identity" in record:
                same = record["identity"] == _identity(process)
            else:
                same = abs(process.create_time() - record["started"]) < CLOCK_TOLERANCE
        except (OSError, ValueError, TypeError, KeyError, psutil.Error):
            return None
        return process if same and _lives(process) else None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def is_current(self, command: Sequence[str], *sources: Path) -> bool:
        """Whether it runs, and was started with this command from these sources."""
        return self.process is not None and self._read_record().get("version") == _version(
            command, sources
        )

    def start(
        self,
        command: Sequence[str],
        *sources: Path,
        env: Mapping[str, str],
        directory: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._reap()
        with self.log.open("wb") as log, _signals_deferred():
            child = self._child = subprocess.Popen(
                command,
                env=env,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            identity = _identity(psutil.Process(child.pid))
            record = {"pid": child.pid, "identity": identity, "version": _version(command, sources)}
            write_whole(self.record, json.dumps(record))
        return child

    def wait_until(self, ready: Callable[[], bool], *, within: float) -> None:
        deadline = time.monotonic() + within
        while not ready():
            if self.process is None:
                raise LocalError(f"{self.name} ended before it was ready:\n{self.last_words()}")
            if time.monotonic() > deadline:
                raise LocalError(
                    f"{self.name} was not ready within {within:.0f} s:\n{self.last_words()}"
                )
            time.sleep(0.05)

    def last_words(self, lines: int = 25) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(it wrote nothing)"

    def stop(self, *, within: float = 15) -> None:
        """End it and everything it started, by force if it has not ended by then."""
        process = self.process
        if process is not None:
            family = [process, *process.children(recursive=True)]
            with suppress(psutil.NoSuchProcess):
                process.terminate()
            _survivors([process], within=within)
            for survivor in _survivors(family, within=1):
                with suppress(psutil.NoSuchProcess):
                    survivor.kill()
            _survivors(family, within=5)
            self._reap()
        self.record.unlink(missing_ok=True)

    def _read_record(self) -> dict[str, Any]:
        """Return what `start` recorded. Empty if there is no record, or an incomplete one."""
        try:
            record = json.loads(self.record.read_text())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _reap(self) -> None:
        """Python warns of children that end unnoticed."""
        if self._child:
            self._child.poll()


def _identity(process: psutil.Process) -> str:
    """Return what tells the process from any other that has had, or will have, its id.

    Linux counts a start time in clock ticks since boot, so the boot's id belongs to it. psutil adds the boot time,
    which moves with the wall clock. Elsewhere the kernel keeps the start time itself as wall-clock time.
    Raises OSError or psutil.Error if the process has ended.
    """
    if sys.platform != "linux":
        return str(process.create_time())
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    fields = (
        Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    )  # the 3rd and the following
    return f"{boot} {fields[19]}"


def _lives(process: psutil.Process) -> bool:
    """Whether any of its threads runs: the first one's end alone makes it look like a zombie."""
    try:
        return process.is_running() and (
            process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
        )
    except psutil.NoSuchProcess:
        return False


def _survivors(processes: Sequence[psutil.Process], *, within: float) -> list[psutil.Process]:
    """Those that have not ended by then. (psutil's own wait counts the dead that nobody has collected yet.)"""
    deadline = time.monotonic() + within
    while (
        living := [process for process in processes if _lives(process)]
    ) and time.monotonic() < deadline:
        time.sleep(0.02)
    return living


def stop_orphans(directory: Path) -> None:
    """End what lives in `directory` without a parent: the workers of an emulator that was killed outright."""
    for process in psutil.process_iter():
        try:
            if process.ppid() == 1 and Path(process.cwd()).is_relative_to(directory):
                process.kill()
        except (psutil.Error, OSError):
            continue


def claim_port(directory: Path, *, name: str, preferred: int, taken: bool) -> int:
    """Return the port that `name` had last time, or the preferred one, or any that is free.

    taken: whether `name` itself is listening on its last port.
    """
    last = read_port(directory, name)
    if last and taken:
        return last
    port = (
        next((port for port in (last, preferred) if port and _is_free(port)), None) or _any_port()
    )
    write_whole(port_file(directory, name), str(port))
    return port


def read_port(directory: Path, name: str) -> int | None:
    """Return the port that `name` claimed. None if it has claimed none, or if the file is incomplete."""
    try:
        port = int(port_file(directory, name).read_text())
    except (OSError, ValueError):
        return None
    return port if 0 < port < 65536 else None


def port_file(directory: Path, name: str) -> Path:
    """Where the port that `name` claimed is remembered."""
    return directory / "ports" / name


def accepts_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _any_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _version(command: Sequence[str], sources: Sequence[Path]) -> str:
    digest = sha256(json.dumps(list(command)).encode())
    for source in sources:
        digest.update(source.read_bytes())
    return digest.hexdigest()


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Ctrl-C between starting a process and remembering it would lose the process: let it wait that long."""
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    try:
        previous = {
            number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # not the main thread, which is the one that signals interrupt
        previous = {}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for deferred in held:
            os.kill(os.getpid(), deferred)
