"""local/processes.py: `stop` ends what `start` started, and no other process."""

import errno
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from local import processes
from local.processes import (
    RECORD_VARIABLE,
    Background,
    LocalError,
    claim_port,
    port_file,
    read_port,
)

SLEEP = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(60)"]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print('ready', flush=True); time.sleep(60)",
]
INCOMPLETE_RECORDS = [
    "",
    "{",
    "[]",
    "{}",
    '{"pid": 1',
    '{"pid": 1}',
    '{"pid": "one", "identity": ""}',
    "\0\0",
]


def test_stop_ends_the_process_and_its_children(tmp_path: Path) -> None:
    background = Background(name="parent", directory=tmp_path)
    background.start(PARENT, env={})
    background.wait_until(lambda: "ready" in background.log_tail(), within=10)
    children = psutil.Process(background.pid).children()
    background.stop()
    assert len(children) == 1
    assert background.process is None
    assert [child for child in children if is_alive(child.pid)] == []


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_stop_leaves_another_process_with_the_recorded_id_alone(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP, stdout=subprocess.DEVNULL) as stranger:
        background = Background(name="old", directory=tmp_path)
        background.record.parent.mkdir()
        background.record.write_text(
            json.dumps({"pid": stranger.pid, "identity": "another", "version": ""})
        )
        background.stop()
        assert stranger.poll() is None
        stranger.kill()


def recorded(background: Background) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(background.record.read_text())
    return record


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Background]:
    background = Background(name="sleeper", directory=tmp_path)
    child = background.start(SLEEP, env={})
    # Until the program has begun, the kernel shows no variables of the process.
    background.wait_until(lambda: "ready" in background.log_tail(), within=10)
    yield background
    child.kill()
    child.wait()


def test_process_is_recognized_after_the_wall_clock_jumped(
    sleeper: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start times by psutil are derived from the boot time, which follows the wall clock."""
    boot_time = psutil.boot_time()
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: boot_time + 3600)
    pid = sleeper.pid
    assert pid
    sleeper.stop()
    assert not psutil.pid_exists(pid)


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a start time is not relative to the boot"
)
def test_process_of_another_boot_is_left_alone(
    sleeper: Background, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a reboot, a process may have the same id and the same ticks."""
    boot = tmp_path / "boot_id"
    boot.write_text("another")
    monkeypatch.setattr(processes, "BOOT_ID", boot)
    pid = recorded(sleeper)["pid"]
    assert sleeper.process is None
    sleeper.stop()
    assert is_alive(pid)


@pytest.mark.parametrize("text", INCOMPLETE_RECORDS)
def test_process_with_an_incomplete_record_is_stopped(sleeper: Background, text: str) -> None:
    pid = recorded(sleeper)["pid"]
    sleeper.record.write_text(text)
    next_command = Background(name="sleeper", directory=sleeper.record.parents[1])
    assert next_command.pid == pid
    assert not next_command.is_current(SLEEP), "nobody knows what it was started from"
    next_command.stop()
    assert not is_alive(pid)


def test_process_without_a_record_is_stopped_with_its_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The children inherit the variable.

    They come first in a list by id when the ids have wrapped around.
    """
    by_id = psutil.process_iter
    monkeypatch.setattr(psutil, "process_iter", lambda: reversed([*by_id()]))
    parent = Background(name="parent", directory=tmp_path)
    started = parent.start(PARENT, env={})
    parent.wait_until(lambda: "ready" in parent.log_tail(), within=10)
    (child,) = psutil.Process(started.pid).children()
    assert RECORD_VARIABLE in child.environ()
    parent.record.unlink()
    assert parent.pid == started.pid
    parent.stop()
    assert [pid for pid in (started.pid, child.pid) if is_alive(pid)] == []


def test_process_without_a_record_is_left_alone_by_another_name(sleeper: Background) -> None:
    pid = recorded(sleeper)["pid"]
    sleeper.record.unlink()
    directory = sleeper.record.parents[1]
    Background(name="other", directory=directory).stop()
    Background(name="sleeper", directory=directory / "other").stop()
    assert is_alive(pid)


def test_process_that_cannot_be_recorded_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def write_on_a_full_disk(path: Path, text: str) -> None:
        started.append(json.loads(text)["pid"])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(processes, "write_whole", write_on_a_full_disk)
    background = Background(name="sleeper", directory=tmp_path)
    with pytest.raises(LocalError, match=r"sleeper was stopped.*No space left"):
        background.start(SLEEP, env={})
    assert [pid for pid in started if is_alive(pid)] == []
    assert len(started) == 1


@pytest.mark.parametrize("text", INCOMPLETE_RECORDS)
def test_incomplete_record_is_deleted_by_stop(text: str, tmp_path: Path) -> None:
    background = Background(name="torn", directory=tmp_path)
    background.record.parent.mkdir()
    background.record.write_text(text)
    assert background.process is None
    assert not background.is_current(SLEEP)
    background.stop()
    assert not background.record.exists()


def test_process_of_a_changed_command_or_source_is_not_current(tmp_path: Path) -> None:
    source = tmp_path / "source.py"
    source.write_text("1")
    background = Background(name="sleeper", directory=tmp_path)
    background.start(SLEEP, source, env={})
    try:
        assert background.is_current(SLEEP, source)
        assert not background.is_current([*SLEEP, "more"], source)
        source.write_text("2")
        assert not background.is_current(SLEEP, source)
    finally:
        background.stop()


def test_claimed_port_is_kept_while_it_is_free(tmp_path: Path) -> None:
    port = claim_port(tmp_path, name="a", preferred=0, taken=False)
    assert claim_port(tmp_path, name="a", preferred=0, taken=False) == port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert claim_port(tmp_path, name="a", preferred=0, taken=True) == port
        assert claim_port(tmp_path, name="a", preferred=0, taken=False) != port


def test_preferred_port_is_claimed_unless_it_is_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        other.listen()
        assert claim_port(tmp_path, name="a", preferred=port, taken=False) != port
    assert claim_port(tmp_path, name="b", preferred=port, taken=False) == port


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("text", ["", "\0\0", "80a", "-1", "99999", "0"])
def test_incomplete_port_file_is_replaced(text: str, taken: bool, tmp_path: Path) -> None:
    memory = port_file(tmp_path, "a")
    memory.parent.mkdir()
    memory.write_text(text)
    assert read_port(tmp_path, "a") is None
    port = claim_port(tmp_path, name="a", preferred=0, taken=taken)
    assert 0 < port < 65536
    assert read_port(tmp_path, "a") == port
