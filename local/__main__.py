"""Run one of the local cloud's commands. The Makefile calls them and documents them."""

import argparse
import os
import shutil
import socket
import sys
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies_environment, proxy_bypass

from local.cloud import MAX_WORKERS, PREFERRED_PORTS, Cloud
from local.database.programs import program, version
from local.processes import LocalError
from local.step import step
from operations.preflight import ENGINE_SERIES
from operations.smoke import CLOSED
from settings import FUNCTIONS, PROJECT

CONNECT_SECONDS = 2


def up(cloud: Cloud) -> None:
    """Start the cloud or update what changed, and print how to use the shop."""
    factory_url = _factory_url()
    cloud.start(factory_url=factory_url, step=step)
    if not version().startswith(f"{ENGINE_SERIES}."):
        print(f"\nThe database is MariaDB {version()}. RDS runs {ENGINE_SERIES}.")
    order = "curl -X POST -H 'Content-Type: application/json' -d"
    print(
        f"\n{open_console(cloud)}\n\nThe donut shop is open at {cloud.endpoint}\n\n"
        f"  curl {cloud.endpoint}/product/donut\n"
        f"""  {order} '{{"MessageAttributeProductCnt": 1, "requester": "me"}}' {cloud.endpoint}/checkout\n"""
        f"""  {order} '{{"MessageAttributeProductCnt": 1000, "requester": "me"}}' {cloud.endpoint}/checkout"""
        "   # out of stock: the factory makes them\n"
    )
    if curl_uses_a_proxy():
        print(
            "Your variables make curl use a proxy. Before these commands, run:"
            " export NO_PROXY=127.0.0.1 no_proxy=127.0.0.1\n"
        )
    unused = {"debugger", "factory"} if factory_url else {"debugger"}  # let_debug prints its port
    for name, (preferred, port) in cloud.moved_ports().items():
        if name not in unused:
            user = {"endpoint": "the API", "mariadb": "MariaDB"}.get(name, f"the {name}")
            print(f"Port {preferred} was taken: {user} uses {port} instead.")
    if factory_url and (problem := why_unreachable(factory_url)):
        print(
            f"Nobody listens at {factory_url} ({problem}). Orders are retried, and then wait in the"
            " dead-letter queue until `make redrive`."
        )
    let_debug(cloud)


def open_console(cloud: Cloud) -> str:
    """Start the console or update it, and return a sentence about it. The shop works without it."""
    try:
        cloud.start_console()
    except (LocalError, OSError) as error:
        reason = str(error).partition("\n")[0].rstrip(":")
        return f"The console did not start: {reason} (see {cloud.console.log})."
    return f"See the shop run, break it and watch it heal, in the browser: {cloud.console_url}"


def dev(cloud: Cloud) -> None:
    """Start the cloud, and deploy what is saved until Ctrl-C. The cloud keeps running."""
    from local.dev import Watcher  # what it imports would slow down every other command

    up(cloud)
    print("Watching the sources: what you save is deployed. Ctrl-C ends this.", flush=True)
    try:
        Watcher(cloud, factory_url=_factory_url(), step=step).run()
    except KeyboardInterrupt:
        print("\nThe shop stays open; `make down` closes it.")
    else:
        print(CLOSED)


def let_debug(cloud: Cloud) -> None:
    """Let a debugger attach to the function that DEBUG names."""
    function = os.environ.get("DEBUG") or None
    if function and function not in FUNCTIONS:
        # Other programs use a variable of this name, too: its value may be meant for them.
        print(f"DEBUG={function} is none of the functions {', '.join(FUNCTIONS)}: no debugger.\n")
        function = None
    if port := cloud.debug(function):
        print(f"{function} waits for a debugger at 127.0.0.1:{port}.\n")


def curl_uses_a_proxy() -> bool:
    """Return whether the process's variables make curl use a proxy for 127.0.0.1."""
    has_proxy = bool(getproxies_environment().keys() & {"http", "all"})
    return has_proxy and not proxy_bypass("127.0.0.1")


def why_unreachable(url: str) -> str | None:
    """Return why no connection to the URL's host can be opened, or None if one can."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=CONNECT_SECONDS):
            return None
    except (OSError, UnicodeError) as error:  # a host's name may be too long for the resolver
        return getattr(error, "strerror", None) or str(error)


def down(cloud: Cloud) -> None:
    """Stop the cloud and keep the database's data."""
    cloud.stop()
    print(CLOSED)


def clean(cloud: Cloud) -> None:
    """Stop the cloud and delete its directory."""
    cloud.stop()
    shutil.rmtree(cloud.directory)
    print(CLOSED)


def reset(cloud: Cloud) -> None:
    """Bring the shop back to the catalogue's opening state."""
    cloud.reset()
    print("The shop has its opening stock, and no purchases, orders or messages.")


def console(cloud: Cloud) -> None:
    """Replace this process by the console, or say where that of `make up` is. Raises LocalError."""
    if cloud.emulator.process is None:
        raise LocalError(CLOSED)
    if cloud.console.process:
        print(f"The console is at {cloud.console_url}")
        return
    command = cloud.console_command()
    os.execve(command[0], command, os.environ | cloud.console_variables)


def mysql(cloud: Cloud, *options: str) -> None:
    """Replace this process by the MariaDB client on the shop's database. Raises LocalError."""
    if cloud.database.pid is None:
        raise LocalError(CLOSED)
    os.execv(program("mariadb"), ["mariadb", f"--defaults-extra-file={cloud.mysql_cnf}", *options])


def run(cloud: Cloud, *command: str) -> None:
    """Replace this process by a command that uses this cloud instead of AWS."""
    os.execvpe(command[0], command, cloud.variables)


COMMANDS = {
    command.__name__: command for command in (up, dev, down, clean, reset, console, mysql, run)
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m local", description=__doc__)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help="arguments of mysql and run")
    parser.add_argument("--directory", type=Path, default=PROJECT / ".local")
    arguments = parser.parse_args()
    try:
        cloud = Cloud(
            arguments.directory, preferred_ports=PREFERRED_PORTS, max_workers=_max_workers()
        )
        COMMANDS[arguments.command](cloud, *arguments.arguments)
    except LocalError as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; `make down` stops what was started.")


def _factory_url() -> str | None:
    return os.environ.get("FACTORY_URL") or None


def _max_workers() -> int:
    """Return how many processes may run a function at the same time. Raises LocalError."""
    given = os.environ.get("WORKERS") or str(MAX_WORKERS)
    if not given.isdecimal() or int(given) < 1:
        raise LocalError(f"WORKERS={given} is not a number of processes, such as {MAX_WORKERS}.")
    return int(given)


if __name__ == "__main__":
    main()
