"""A cold start: from the start of the process to its first response."""

import json
import os
import subprocess
import sys
import time
from functools import partial

from bench import server
from bench.figures import Figure, Findings
from bench.measure import Effort, each, interleave, ratio
from settings import PROJECT
from tests.support.database_shop import DatabaseShop
from tests.support.variables import LOGIN, VARIABLES


def run(effort: Effort) -> Findings:
    """Compare the first GET with connecting and a SELECT with PyMySQL alone."""
    with server.shop(sync_us=100, binary_log=False) as shop:
        sides = {side: partial(start, shop, side) for side in ("ours", "raw")}
        for warm_up in sides.values():  # compiles the byte code, as the deployed package has it
            warm_up()
        rounds = interleave(sides, effort=effort)
    return Findings(
        figures=[
            Figure(
                name="process start to first GET / raw connect and SELECT",
                value=ratio(rounds, "ours", "raw", float),
                at_most=1.35,
            ),
            Figure(
                name="process start to first GET",
                value=each(rounds, "ours", lambda seconds: seconds * 1000),
                unit="ms",
            ),
        ]
    )


def start(shop: DatabaseShop, side: str) -> float:
    """Start the process and return the seconds until it has ended."""
    login = server.login(shop)
    variables = (
        LOGIN
        | VARIABLES
        | {
            "DATABASE_HOST": login["host"],
            "DATABASE_PORT": str(login["port"]),
            "DATABASE_NAME": login["database"],
            "DATABASE_CA_FILE": login["ca_file"],
            "DATABASE_USER": "shop_sales_password",
        }
    )
    given = {
        "BENCH_LOGIN": json.dumps(login),
        "BENCH_VARIABLES": json.dumps(variables),
        "PYTHONPATH": os.pathsep.join([*packages(), "lambdas", "."]),
    }
    began = time.perf_counter()
    # -S as on Lambda: the virtual environment's start-up files are not the shop's.
    # A session of its own: Ctrl-C is for the bench.
    command = [sys.executable, "-S", "bench/sides/start.py", side]
    subprocess.run(command, cwd=PROJECT, env=os.environ | given, check=True, start_new_session=True)
    return time.perf_counter() - began


def packages() -> list[str]:
    """Return the folders of installed packages, which -S hides."""
    return [path for path in sys.path if path.endswith("site-packages")]
