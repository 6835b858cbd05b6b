"""Run a private MariaDB server that behaves like an RDS instance.

It has its own files, socket and port, and does not read the machine's option files.
"""

import hashlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import trustme

from local.database import pam_plugin, programs
from local.database.programs import SEARCH_PATH
from local.database.rds import create_iam_user, run_sql
from local.debian import NotUnpacked
from local.files import write_whole
from local.processes import Background, LocalError, accepts_connections, claim_port, port_file
from settings import DATABASE_PARAMETERS, DATABASE_USERS

OPTION_NAMES = {"tx_isolation": "transaction_isolation"}
"""The server's options whose names differ from those of the parameters in RDS's parameter group."""

NEWER_THAN_RDS = (11, 0)
DEFAULTS_OF_RDS = {
    "innodb_snapshot_isolation": "OFF",
    "character_set_collations": "",
    "optimizer_switch": "hash_join_cardinality=off,cset_narrowing=off,sargable_casefold=off",
    "histogram_type": "DOUBLE_PREC_HB",
    "innodb_prefix_index_cluster_optimization": "ON",
    "innodb_undo_tablespaces": "0",
    "binlog_gtid_index": "OFF",
    "slave_connections_needed_for_purge": "0",
    "max_tmp_session_space_usage": "0",
    "max_tmp_total_space_usage": "0",
    "session_track_system_variables": (
        "autocommit,character_set_client,character_set_connection,character_set_results,time_zone"
    ),
}
"""The defaults of MariaDB 10.11 that MariaDB 11.8 has changed, and variables that it has added.

They were found by comparing the defaults that both servers print. Two changes can't be undone,
because 10.11 has no variables for them: the costs that the optimizer assumes, and how it adjusts
those of secondary keys.
"""

LONGEST_SOCKET_PATH = 100
"""Bytes. The limit of Linux is 107, that of macOS 103."""
START_SECONDS = 60
OWNER_ONLY = 0o600


class MariaDb:
    """A server in `directory`.

    Its data survives `stop`. `start` does not restart a server that is up to date.
    """

    def __init__(
        self,
        directory: Path,
        *,
        preferred_port: int = 0,
        options: tuple[str, ...] = (),
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory.resolve()
        self.preferred_port = preferred_port
        self.options = options
        self.variables = {"PATH": SEARCH_PATH, "LANG": "C.UTF-8", "TZ": "UTC"} | dict(
            variables or {}
        )
        self.files = self.directory / "mysql"
        self.plugins = self.files / "plugins"
        self.ca_file = self.files / "ca.pem"
        self.mysql_cnf = self.directory / "mysql.cnf"
        self.port = 0
        self.emulator_port = port_file(self.directory, "emulator")
        self.background = Background(name="mariadb", directory=self.directory)

    @property
    def pid(self) -> int | None:
        return self.background.pid

    @property
    def takes_iam_tokens(self) -> bool:
        """Return whether the server runs with the plugin for logins with IAM tokens."""
        loaded = (
            "SELECT 1 FROM information_schema.plugins"
            " WHERE plugin_name = 'pam' AND plugin_status = 'ACTIVE'"
        )
        return self.background.process is not None and bool(run_sql(self.mysql_cnf, loaded))

    @property
    def socket(self) -> Path:
        """Return the socket's path.

        If a path inside the server's directory would be too long, the socket is in the system's
        temporary directory.
        """
        path = self.files / "mysql.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]
        return Path(tempfile.gettempdir()) / f"mariadb-{digest}" / "mysql.sock"

    def start(self) -> None:
        """Start the server, or restart it if its options have changed, and make it writable.

        Raises LocalError.
        """
        self._require_programs()
        pam_plugin.install(self.plugins)
        self._create_data()
        self._write_certificate()
        running = self.background.process is not None
        self.port = claim_port(
            self.directory, name="mariadb", preferred=self.preferred_port, taken=running
        )
        if not (self.background.is_current(self._command()) and self._accepts_connections()):
            self.background.stop()
            self._write_login()
            self._own_socket_directory()
            self.background.start(self._command(), env=self.variables)
            self.background.wait_until(self._accepts_connections, within=START_SECONDS)
        run_sql(self.mysql_cnf, "SET GLOBAL read_only = OFF")
        self._create_iam_users()

    def stop(self) -> None:
        self.background.stop(within=START_SECONDS)
        if self.socket.parent != self.files:
            shutil.rmtree(self.socket.parent, ignore_errors=True)

    def _require_programs(self) -> None:
        """Unpack the server if it is missing. Raises LocalError."""
        try:
            programs.install()
        except NotUnpacked as error:
            raise LocalError(str(error)) from None

    def _create_iam_users(self) -> None:
        """Create the functions' users that do not exist yet.

        A server that was running already may lack some of them.
        Users that are no longer in the list remain in older data. No role may log in as them.
        """
        if self.takes_iam_tokens:
            for user in DATABASE_USERS.values():
                create_iam_user(mysql_cnf=self.mysql_cnf, user=user, emulator=self.emulator_port)

    def _command(self) -> list[str]:
        parameters = {
            OPTION_NAMES.get(name, name): value for name, value in DATABASE_PARAMETERS.items()
        }
        return [
            *_program("mariadbd"),
            f"--datadir={self.files / 'data'}",
            f"--tmpdir={self.files / 'tmp'}",
            f"--secure-file-priv={self.files / 'tmp'}",
            f"--pid-file={self.files / 'mariadbd.pid'}",
            f"--socket={self.socket}",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            f"--init-file={self.files / 'login.sql'}",
            f"--ssl-ca={self.ca_file}",
            f"--ssl-cert={self.files / 'server.pem'}",
            f"--ssl-key={self.files / 'server.key'}",
            "--log-bin",
            "--sync-binlog=1",
            "--innodb-flush-log-at-trx-commit=1",
            "--innodb-buffer-pool-size=64M",
            "--expire-logs-days=1",
            *_defaults_of_rds(),
            *(f"--{name}={value}" for name, value in parameters.items()),
            *pam_plugin.options(self.plugins),
            *self.options,
        ]

    def _accepts_connections(self) -> bool:
        """Return whether the server listens on its socket and its port. Both have to be tried.

        The socket's file remains when the server is killed.
        """
        with socket.socket(socket.AF_UNIX) as probe:
            return probe.connect_ex(str(self.socket)) == 0 and accepts_connections(self.port)

    def _create_data(self) -> None:
        """Create the data directory if it does not exist. Raises LocalError."""
        data = self.files / "data"
        (self.files / "tmp").mkdir(parents=True, exist_ok=True)
        if data.exists():
            return
        unfinished = self.files / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        # The path is relative because the script does not support spaces in it.
        command = [
            *_program("mariadb-install-db"),
            f"--datadir=./{unfinished.name}",
            "--skip-test-db",
        ]
        command += ["--skip-name-resolve", "--auth-root-authentication-method=normal"]
        command += _defaults_of_rds()
        # The system's temporary directory must not be used: a server that starts there deletes the
        # temporary tables of every other server.
        variables = os.environ | {"TMPDIR": str(self.files / "tmp")}
        done = subprocess.run(
            command, cwd=self.files, env=variables, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise LocalError(
                f"mariadb-install-db failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
            )
        unfinished.rename(data)

    def _write_login(self) -> None:
        """Choose a new password for root. The server sets it before it accepts connections."""
        password = secrets.token_urlsafe(24)
        login = self.files / "login.sql"
        write_whole(
            login,
            "DELETE FROM mysql.global_priv"
            " WHERE User IN ('', 'root') AND NOT (User = 'root' AND Host = 'localhost');\n"
            "FLUSH PRIVILEGES;\n"
            f"ALTER USER root@localhost IDENTIFIED BY '{password}';\n",
            mode=OWNER_ONLY,
        )
        write_whole(
            self.mysql_cnf,
            f"[client]\nuser=root\npassword={password}\nsocket={self.socket}\n"
            "default-character-set=utf8mb4\n"
            "ssl-verify-server-cert=OFF\n\n"  # as in 10.11: the socket needs no TLS
            "[mysql]\ndatabase=shop\n",
            mode=OWNER_ONLY,
        )

    def _write_certificate(self) -> None:
        """Create a certificate authority and the server's certificate, once."""
        if self.ca_file.exists():
            return
        authority = trustme.CA()
        server = authority.issue_cert("localhost", "127.0.0.1")
        write_whole(
            self.files / "server.key", server.private_key_pem.bytes().decode(), mode=OWNER_ONLY
        )
        (self.files / "server.pem").write_bytes(
            b"".join(blob.bytes() for blob in server.cert_chain_pems)
        )
        authority.cert_pem.write_to_path(str(self.ca_file))

    def _own_socket_directory(self) -> None:
        """Create the socket's directory. Raises LocalError if it belongs to another user."""
        self.socket.parent.mkdir(mode=0o700, exist_ok=True)
        if self.socket.parent.stat().st_uid != os.getuid():
            raise LocalError(
                f"{self.socket.parent} belongs to another user: move the project to a shorter path."
            )


def _defaults_of_rds() -> list[str]:
    """Return the options that give a server newer than RDS's the defaults of RDS's version.

    A server ignores those that it does not know.
    """
    major, minor, _ = programs.version().split(".")
    if (int(major), int(minor)) < NEWER_THAN_RDS:
        return []
    return [f"--loose-{name}={value}" for name, value in DEFAULTS_OF_RDS.items()]


def _program(name: str) -> list[str]:
    """Return the command for a server program, without option files and as the current user.

    The server does not run as root unless --user=root is given.
    """
    return [
        programs.program(name),
        "--no-defaults",
        *(["--user=root"] if os.getuid() == 0 else []),
    ]
