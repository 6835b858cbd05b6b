"""Background processes that outlive the command that started them, remembered by process id and start time."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from types import FrameType

import psutil

CLOCK_TOLERANCE = 2.0
"""Seconds by which one process's start time may differ between readings: it is derived from the wall clock."""


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
        try:
            record = json.loads(self.record.read_text())
            process = psutil.Process(record["pid"])
            same = abs(process.create_time() - record["started"]) < CLOCK_TOLERANCE
        except (OSError, ValueError, KeyError, psutil.Error):
            return None
        return process if same and _lives(process) else None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def is_current(self, command: Sequence[str], *sources: Path) -> bool:
        """Whether it runs, and was started with this command from these sources."""
        return self.process is not None and json.loads(self.record.read_text())[
            "version"
        ] == _version(command, sources)

    def start(
        self,
        command: Sequence[str],
        *sources: Path,
        env: Mapping[str, str],
        directory: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        self.record.parent.mkdir(parents=True, exist_ok=True)
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
            started = psutil.Process(child.pid).create_time()
            record = {"pid": child.pid, "started": started, "version": _version(command, sources)}
            self.record.write_text(json.dumps(record))
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

    def _reap(self) -> None:
        """Python warns of children that end unnoticed."""
        if self._child:
            self._child.poll()


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
    """The port that `name` had last time, or the preferred one, or any that is free; `taken`: by `name` itself."""
    memory = port_file(directory, name)
    last = int(memory.read_text()) if memory.exists() else preferred
    port = (
        last
        if taken
        else next(port for port in (last, preferred, 0) if port == 0 or _is_free(port))
        or _any_port()
    )
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(str(port))
    return port


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
