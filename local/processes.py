"""Run processes in the background that outlive the command which started them.

A record in a file tells the next command which process to look at or to stop. It holds the process
id and, because the system reuses process ids, a text that identifies the process.
"""

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

RECORD_VARIABLE = "LOCAL_PROCESS_RECORD"
"""A variable of every background process. Its value is the path of the process's record."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class LocalError(Exception):
    """A command failed. The message is for the person who typed it."""


class Background:
    """A background process. `stop` never ends a process that `start` did not start."""

    def __init__(self, *, name: str, directory: Path) -> None:
        self.name = name
        self.record = directory / "processes" / f"{name}.json"
        self.log = directory / "logs" / f"{name}.log"
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> psutil.Process | None:
        """Return the process that `start` started, or None if it is not running.

        Without a complete record, the process is found by the variable that `start` has set.
        """
        self._reap()
        record = self._read_record()
        try:
            process = psutil.Process(record["pid"])
            is_same = record["identity"] == _identity(process)
        except (ValueError, TypeError, KeyError):
            return self._find_by_variable()
        except (OSError, psutil.Error):
            return None
        return process if is_same and _is_alive(process) else None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    def is_current(self, command: Sequence[str], *sources: Path) -> bool:
        """Return whether the process runs and was started with this command from these sources."""
        if self.process is None:
            return False
        return self._read_record().get("version") == version(command, sources)

    def start(
        self,
        command: Sequence[str],
        *sources: Path,
        env: Mapping[str, str],
        directory: Path | None = None,
    ) -> subprocess.Popen[bytes]:
        """Start the process and record it.

        Raises LocalError if the record cannot be written. Then the process does not run either.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._reap()
        with self.log.open("wb") as log, _signals_deferred():
            child = self._child = subprocess.Popen(
                command,
                env={**env, RECORD_VARIABLE: self._record_path()},
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            identity = _identity(psutil.Process(child.pid))
            record = {"pid": child.pid, "identity": identity, "version": version(command, sources)}
            try:
                write_whole(self.record, json.dumps(record))
            except OSError as error:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                raise LocalError(
                    f"{self.name} was stopped, because it could not be recorded: {error}"
                ) from error
        return child

    def wait_until(self, ready: Callable[[], bool], *, within: float) -> None:
        """Wait until the process is ready.

        Raises LocalError after `within` seconds, or if the process ends.
        """
        deadline = time.monotonic() + within
        while not ready():
            if self.process is None:
                raise LocalError(f"{self.name} ended before it was ready:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise LocalError(
                    f"{self.name} was not ready within {within:.0f} s:\n{self.log_tail()}"
                )
            time.sleep(0.05)

    def log_tail(self, lines: int = 25) -> str:
        """Return the last lines of the log."""
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(it wrote nothing)"

    def stop(self, *, within: float = 15, with_children: bool = True) -> None:
        """End the process and its children.

        Kill those that have not ended after `within` seconds.
        """
        process = self.process
        if process is not None:
            family = [process, *(process.children(recursive=True) if with_children else [])]
            with suppress(psutil.NoSuchProcess):
                process.terminate()
            _wait_for_end([process], within=within)
            for survivor in _wait_for_end(family, within=1):
                with suppress(psutil.NoSuchProcess):
                    survivor.kill()
            _wait_for_end(family, within=5)
            self._reap()
        self.record.unlink(missing_ok=True)

    def _read_record(self) -> dict[str, Any]:
        """Return what `start` recorded. Empty if there is no record, or an incomplete one."""
        try:
            record = json.loads(self.record.read_text())
        except (OSError, ValueError):
            return {}
        return record if isinstance(record, dict) else {}

    def _record_path(self) -> str:
        return os.path.realpath(self.record)

    def _find_by_variable(self) -> psutil.Process | None:
        """Return the process that has this record's path among its variables, or None.

        Its children inherit the variable, but only the process itself leads a session.
        """
        for process in psutil.process_iter():
            try:
                if (
                    os.getsid(process.pid) == process.pid
                    and process.environ().get(RECORD_VARIABLE) == self._record_path()
                    and _is_alive(process)
                ):
                    return process
            except (psutil.Error, OSError):
                continue
        return None

    def _reap(self) -> None:
        """Poll the child so that it is reaped. Otherwise Python emits a ResourceWarning."""
        if self._child:
            self._child.poll()


def _identity(process: psutil.Process) -> str:
    """Return a text that differs from that of any earlier or later process with the same id.

    Linux counts the start time in clock ticks since boot, so the boot's id is part of the text.
    psutil's start time is not used there, because it follows the wall clock. Other systems record
    the start time as wall-clock time. Raises OSError or psutil.Error if the process has ended.
    """
    if sys.platform != "linux":
        return str(process.create_time())
    boot = BOOT_ID.read_text().strip() if BOOT_ID.exists() else ""
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    fields_from_3rd = stat.rpartition(")")[2].split()  # the 2nd field, the name, may contain spaces
    start_ticks = fields_from_3rd[22 - 3]
    return f"{boot} {start_ticks}"


def _is_alive(process: psutil.Process) -> bool:
    """Return whether any thread of the process runs.

    A process whose first thread has ended has a zombie's status while others still run.
    """
    try:
        return process.is_running() and (
            process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
        )
    except psutil.NoSuchProcess:
        return False


def _wait_for_end(processes: Sequence[psutil.Process], *, within: float) -> list[psutil.Process]:
    """Wait until the processes have ended, and return those that have not after `within` seconds.

    psutil.wait_procs is not used: it also waits until an ended process is reaped by its parent.
    """
    deadline = time.monotonic() + within
    while True:
        alive = [process for process in processes if _is_alive(process)]
        if not alive or time.monotonic() >= deadline:
            return alive
        time.sleep(0.02)


def stop_orphans(directory: Path) -> None:
    """Kill the processes without a parent whose working directory is below `directory`.

    These are the workers of an emulator that was killed.
    """
    for process in psutil.process_iter():
        try:
            if process.ppid() == 1 and Path(process.cwd()).is_relative_to(directory):
                process.kill()
        except (psutil.Error, OSError):
            continue


def claim_port(directory: Path, *, name: str, preferred: int, taken: bool) -> int:
    """Choose a port, remember it under `name` and return it.

    The port is the one that `name` had last time, else the preferred one, else any free port.
    taken: whether `name` itself listens on its last port, so that it need not be free.
    """
    last = read_port(directory, name)
    if last and taken:
        return last
    free = (port for port in (last, preferred) if port and _is_free(port))
    port = next(free, None) or _any_port()
    write_whole(port_file(directory, name), str(port))
    return port


def read_port(directory: Path, name: str) -> int | None:
    """Return the port that `name` claimed.

    None if it has claimed none, or if the file is incomplete.
    """
    try:
        port = int(port_file(directory, name).read_text())
    except (OSError, ValueError):
        return None
    return port if 0 < port < 65536 else None


def port_file(directory: Path, name: str) -> Path:
    """Return the path of the file that holds the port of `name`."""
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


def version(command: Sequence[str], sources: Sequence[Path]) -> str:
    """Return a text that changes with the command and with the content of each source."""
    digest = sha256(json.dumps(list(command)).encode())
    for source in sources:
        digest.update(sha256(source.read_bytes()).digest())
    return digest.hexdigest()


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """Hold back SIGINT and SIGTERM until the end of the block.

    Ctrl-C between the start of a process and its record would leave a process that no command can
    stop.
    """
    held: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        held.append(number)

    try:
        previous = {
            number: signal.signal(number, hold) for number in (signal.SIGINT, signal.SIGTERM)
        }
    except ValueError:  # This is not the main thread. Signals interrupt the main thread only.
        previous = {}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
        for deferred in held:
            os.kill(os.getpid(), deferred)
