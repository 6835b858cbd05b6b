"""Background processes: only ours are ever stopped, and nothing of theirs stays."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import psutil

from local.processes import Background, claim_port

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
