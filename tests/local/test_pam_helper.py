"""local/database/pam_plugin.py and pam_helper.py: logins that the emulator decides.

No login helper remains after the end of the server, and each server has a helper of its own.
"""

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import pymysql
import pytest

from local.database import pam_helper, pam_plugin
from local.database.mariadb import MariaDb
from local.database.rds import create_iam_user
from local.files import write_whole
from local.polling import eventually
from local.processes import port_file
from tests.support.serving import QuietHandler, serving

TOOL = [sys.executable, "-I", "-S", str(Path(pam_helper.__file__))]
FLAGS = b"\0"
USER = b"\0\x05buyer"
PORT_FILE = b"\0\x05/port"
LOGINS = 48


def in_session(session: int) -> list[psutil.Process]:
    """Return the processes of a session that are alive, except for its leader."""
    found = []
    for process in psutil.process_iter():
        try:
            member = process.pid != session and os.getsid(process.pid) == session
            if member and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.parametrize(
    "sent", [b"", FLAGS, FLAGS + USER, FLAGS + USER + PORT_FILE, FLAGS + USER + PORT_FILE + b"\0"]
)
def test_pam_helper_ends_when_its_input_ends(sent: bytes) -> None:
    """It ends even if it has inherited the other end of the pipe.

    That happens when two logins begin at the same time: each helper inherits the ends of the
    other's pipes.
    """
    input_end, server_end = os.pipe()
    tool = subprocess.Popen(
        TOOL,
        stdin=input_end,
        stdout=subprocess.DEVNULL,
        pass_fds=[server_end],
        start_new_session=True,
    )
    os.close(input_end)
    os.write(server_end, sent)
    assert tool.wait(10) == 0
    os.close(server_end)

    def all_ended() -> None:
        assert not in_session(tool.pid)

    try:
        eventually(all_ended, within=10)
    finally:
        for left in in_session(tool.pid):
            left.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MariaDb]:
    """Start a server whose plugin's program has the path from before the project was moved."""
    server = MariaDb(tmp_path)
    pam_plugin.install(server.plugins)
    if not pam_plugin.options(server.plugins):
        pytest.skip("MariaDB's PAM plugin is not available on this system")
    write_whole(
        server.plugins / pam_plugin.TOOL, "#!/bin/sh\nexec /moved/pam_helper.py\n", mode=0o755
    )
    server.start()
    yield server
    server.stop()


class AcceptingEmulator(QuietHandler):
    """An emulator that accepts every login."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send(204, b"")


def test_server_of_another_checkout_does_not_disturb_logins(
    server: MariaDb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make forget` runs tests in copies of the tree, which share `.venv` and are deleted."""
    with monkeypatch.context() as deleted_checkout:
        deleted_checkout.setattr(pam_plugin, "PROJECT", tmp_path / "deleted")
        pam_plugin.install(MariaDb(tmp_path / "other").plugins)
    emulator = port_file(server.directory, "emulator")
    create_iam_user(mysql_cnf=server.mysql_cnf, user="buyer", emulator=emulator)
    api = ThreadingHTTPServer(("127.0.0.1", 0), AcceptingEmulator)
    emulator.write_text(str(api.server_port))
    with (
        serving(api),
        pymysql.connect(
            host="127.0.0.1",
            port=server.port,
            user="buyer",
            password="token",
            ssl=ssl.create_default_context(cafile=str(server.ca_file)),
        ) as connection,
    ):
        assert connection.open


def test_killed_server_leaves_no_pam_helper(server: MariaDb) -> None:
    create_iam_user(
        mysql_cnf=server.mysql_cnf, user="waiting", emulator=port_file(server.directory, "emulator")
    )
    killed = Event()

    class Wait:
        """A client that is asked for its token and does not send it before the server is killed."""

        def __init__(self, connection: Any) -> None:
            pass

        def authenticate(self, packet: Any) -> None:
            killed.wait(60)
            raise pymysql.OperationalError("the server was killed")

    def log_in() -> None:
        tls = ssl.create_default_context(cafile=str(server.ca_file))
        methods = {b"mysql_clear_password": Wait}
        with pytest.raises(pymysql.MySQLError):
            pymysql.connect(
                host="127.0.0.1",
                port=server.port,
                user="waiting",
                ssl=tls,
                auth_plugin_map=methods,  # type: ignore[arg-type]  # the stubs have str for bytes
            )

    pid = server.pid
    assert pid

    def all_wait() -> None:
        assert len(in_session(pid)) == LOGINS

    def all_ended() -> None:
        assert not in_session(pid)

    with ThreadPoolExecutor(LOGINS) as pool:
        logins = [pool.submit(log_in) for _ in range(LOGINS)]
        try:
            eventually(all_wait, within=30)
            psutil.Process(pid).kill()
            eventually(all_ended, within=30)
        finally:
            killed.set()
            for left in in_session(pid):
                left.kill()
        for login in logins:
            login.result()
