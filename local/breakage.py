"""Break the parts of a local cloud, each for a limited time.

Every breakage ends where it takes effect: in the emulator, in the local factory, or in a process
that heals the database. It therefore ends in time even if the process that started it is killed.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from local.cloud import Cloud
from local.database.outage import OUTAGES
from local.emulator.faults import Fault
from local.expiry import LONGEST, ends_at
from local.factory import BREAKAGE_PATH, BREAKAGES, DIRECTLY, PATH
from local.processes import LocalError
from settings import ENVIRONMENTS

UNAVAILABLE = 503
SERVICES = ("sns", "sqs")


class Breakage(Protocol):
    """One way to break the cloud."""

    def start(self, seconds: float = LONGEST) -> None:
        """Break it for this long, LONGEST at most. Raises LocalError and ValueError."""

    def end(self) -> None:
        """Heal it now, if it is broken. Raises LocalError."""

    def remaining(self) -> float:
        """Return for how many seconds it is still broken; 0 if it is not."""


def breakages(cloud: Cloud) -> Mapping[str, Breakage]:
    """Return the ways to break a cloud that runs, by name.

    `sns` and `sqs`: the service rejects every call. `factory_*`: see BREAKAGES in local/factory.py.
    `database_*`: see OUTAGES in local/database/outage.py. At most one of the factory's and one of
    the database's is in effect at a time.
    """
    factory = deployed_factory_url(cloud)
    return {
        **{service: ServiceFailure(cloud, service) for service in SERVICES},
        **{
            f"factory_{name}": FactoryFailure(f"{factory}{BREAKAGE_PATH}{name}")
            for name in BREAKAGES
        },
        **{f"database_{name}": DatabaseFailure(cloud, name) for name in OUTAGES},
    }


@contextmanager
def broken(breakage: Breakage, *, seconds: float = LONGEST) -> Iterator[None]:
    """Break something during the block, and for `seconds` at most."""
    breakage.start(seconds)
    try:
        yield
    finally:
        breakage.end()


@dataclass(frozen=True)
class ServiceFailure:
    """The emulator rejects every call to a service, but still delivers messages by itself."""

    cloud: Cloud
    service: str

    def start(self, seconds: float = LONGEST) -> None:
        fault = Fault(service=self.service, status=UNAVAILABLE, seconds=seconds)
        self.cloud.set_faults(fault, group=self.service)

    def end(self) -> None:
        self.cloud.set_faults(group=self.service)

    def remaining(self) -> float:
        return self.cloud.faults_remaining(self.service)


@dataclass(frozen=True)
class FactoryFailure:
    """The local factory misbehaves. url: to which the number of seconds is sent."""

    url: str

    def start(self, seconds: float = LONGEST) -> None:
        # The factory rejects a wrong number, too, but its response does not give the reason.
        ends_at(seconds)
        self._send(json.dumps(seconds).encode())

    def end(self) -> None:
        self._send(b"0")

    def remaining(self) -> float:
        return self._send(None)

    def _send(self, body: bytes | None) -> float:
        """Send a request, and return the remaining seconds. Raises LocalError."""
        try:
            with DIRECTLY.open(self.url, body, timeout=10) as response:
                return float(response.read())
        except (OSError, ValueError) as error:
            raise LocalError(
                f"The factory at {self.url} is not the local one ({error}), so it cannot be broken:"
                " `make up` without FACTORY_URL starts the local one."
            ) from None


@dataclass(frozen=True)
class DatabaseFailure:
    """The database server is killed, or rejects changes. name: one of OUTAGES."""

    cloud: Cloud
    name: str

    def start(self, seconds: float = LONGEST) -> None:
        self.cloud.outage.start(self.name, seconds=seconds)

    def end(self) -> None:
        self.cloud.outage.end(self.name)

    def remaining(self) -> float:
        return self.cloud.outage.remaining(self.name)


def deployed_factory_url(cloud: Cloud) -> str:
    """Return the base URL of the factory that the deployed shop uses."""
    consumer = cloud.client("lambda").get_function_configuration(
        FunctionName=ENVIRONMENTS["local"].function_name("consumer")
    )
    return str(consumer["Environment"]["Variables"]["FACTORY_URL"]).removesuffix(PATH)
