"""Background processes: only ours are ever stopped, and nothing of theirs stays."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from local import processes
from local.processes import Background, claim_port, port_file, read_port

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
PARENT = [
    sys.executable,
    "-c",
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print('ready', flush=True); time.sleep(60)",
]


def test_stop_ends_the_process_and_its_children(tmp_path: Path) -> None:
    background = Background(name="parent", directory=tmp_path)
    background.start(PARENT, env={})
    background.wait_until(lambda: "ready" in background.last_words(), within=10)
    children = psutil.Process(background.pid).children()
    background.stop()
    assert len(children) == 1
    assert background.process is None
    assert not any(
        child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children
    )


def test_another_process_under_a_remembered_id_is_left_alone(tmp_path: Path) -> None:
    with subprocess.Popen(SLEEP) as stranger:
        background = Background(name="old", directory=tmp_path)
        background.record.parent.mkdir()
        background.record.write_text(
            json.dumps({"pid": stranger.pid, "started": 1.0, "version": ""})
        )
        background.stop()
        assert stranger.poll() is None
        stranger.kill()


def recorded(background: Background) -> dict[str, Any]:
    return json.loads(background.record.read_text())


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Background]:
    background = Background(name="sleeper", directory=tmp_path)
    child = background.start(SLEEP, env={})
    yield background
    child.kill()
    child.wait()


def test_process_is_recognized_after_the_wall_clock_jumped(
    sleeper: Background, monkeypatch: pytest.MonkeyPatch
) -> None:
    """psutil derives a start time from the boot time, which follows the wall clock."""
    boot_time = psutil.boot_time()
    monkeypatch.setattr("psutil._psplatform.boot_time", lambda: boot_time + 3600)
    pid = sleeper.pid
    assert pid
    sleeper.stop()
    assert not psutil.pid_exists(pid)


@pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a start time is not relative to the boot"
)
def test_process_of_another_boot_is_a_stranger(
    sleeper: Background, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a reboot, a process may have the same id and the same ticks."""
    boot = tmp_path / "boot_id"
    boot.write_text("another")
    monkeypatch.setattr(processes, "BOOT_ID", boot)
    pid = recorded(sleeper)["pid"]
    assert sleeper.process is None
    sleeper.stop()
    assert psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_record_of_an_older_version_is_understood(sleeper: Background) -> None:
    """It has the start time by the wall clock. Nobody could stop the process otherwise."""
    pid = recorded(sleeper)["pid"]
    old = {"pid": pid, "started": psutil.Process(pid).create_time(), "version": ""}
    sleeper.record.write_text(json.dumps(old))
    assert sleeper.pid == pid


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"pid": 1', '{"pid": "one", "identity": ""}', "\0\0"]
)
def test_incomplete_record_counts_as_none(text: str, tmp_path: Path) -> None:
    background = Background(name="torn", directory=tmp_path)
    background.record.parent.mkdir()
    background.record.write_text(text)
    assert background.process is None
    assert not background.is_current(SLEEP)
    background.stop()
    assert not background.record.exists()


def test_a_changed_command_or_source_is_not_current(tmp_path: Path) -> None:
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


def test_a_port_is_remembered_while_it_is_free(tmp_path: Path) -> None:
    port = claim_port(tmp_path, name="a", preferred=0, taken=False)
    assert claim_port(tmp_path, name="a", preferred=0, taken=False) == port
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        assert claim_port(tmp_path, name="a", preferred=0, taken=True) == port
        assert claim_port(tmp_path, name="a", preferred=0, taken=False) != port


@pytest.mark.parametrize("taken", [True, False])
@pytest.mark.parametrize("text", ["", "\0\0", "80a", "-1", "99999", "0"])
def test_incomplete_port_file_counts_as_none(text: str, taken: bool, tmp_path: Path) -> None:
    memory = port_file(tmp_path, "a")
    memory.parent.mkdir()
    memory.write_text(text)
    assert read_port(tmp_path, "a") is None
    port = claim_port(tmp_path, name="a", preferred=0, taken=taken)
    assert 0 < port < 65536
    assert read_port(tmp_path, "a") == port
