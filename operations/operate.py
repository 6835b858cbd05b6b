"""Show orders and books, remind the factory, or correct a stock, through the function `operate`.

The function is invoked with the caller's credentials, on this machine as on an account.
"""

import argparse
import json
import re
import sys
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from operations import aws, guard, terminal
from settings import ENVIRONMENTS, Settings

PATIENT = Config(connect_timeout=5, read_timeout=40, retries={"total_max_attempts": 3})
"""Waits longer than the function may take. Botocore's repetition of an invocation changes nothing
again, because it has the same `operation_id`."""
USAGE = {
    "order": "type ID=... make order, with the id of a production order",
    "stocktake": "type SLUG=donut COUNT=12 REASON='...' make stocktake, with what was counted",
    "adjust": "type SLUG=donut N=-2 REASON='...' make adjust; N has a sign, + or -",
}
UNKNOWN = (
    "It is unknown whether anything has changed: compare `make books` and `make orders` with what"
    " you expect before you repeat the command. If it has, `make logs` shows the line `operation`"
    " with operation_id={operation_id}."
)

Table = Mapping[str, Any]
"""A `title`, the `rows`, each a dict by column, and `cut`: whether rows were left out."""


class Failed(Exception):
    """The command failed. The text says why, in one sentence."""


class Rejected(Failed):
    """The function can't do what it was asked for, and has changed nothing."""


class Unavailable(Failed):
    """The function could not reach its database, and has changed nothing."""


class Unknown(Failed):
    """The function may have changed something."""


PROBLEMS: Mapping[str, type[Failed]] = {"rejected": Rejected, "unavailable": Unavailable}
"""What the function calls the `problem` of an error. Any other is Unknown."""


class OperateFunction:
    """The function `operate` of an environment.

    claimed_by: the ARN of the person who invokes it, which the function logs.
    """

    def __init__(self, client: Any, settings: Settings, *, claimed_by: str) -> None:
        self._client = client
        self._settings = settings
        self._claimed_by = claimed_by

    def invoke(self, verb: str, **fields: object) -> Sequence[Table]:
        """Return what the function returns for the verb. Raises Failed, and botocore's errors."""
        settings = self._settings
        name = settings.function_name("operate")
        event = {"verb": verb, "claimed_by": self._claimed_by, **fields}
        try:
            response = self._client.invoke(FunctionName=name, Payload=json.dumps(event))
        except ClientError as error:
            match error.response["Error"].get("Code"):
                case "AccessDeniedException":
                    raise Failed(
                        f"{self._claimed_by} may not do this: allow lambda:InvokeFunction on the"
                        f" function {name}"
                    ) from error
                case "ResourceNotFoundException":
                    raise Failed(
                        f"{settings.name} has no function {name}: deploy it first"
                    ) from error
                case (
                    "TooManyRequestsException"
                ):  # an invocation before this one may have been executed
                    raise Unknown(
                        f"the function {name} is throttled: `make status` shows whether its"
                        " concurrency is 0; otherwise try again later"
                    ) from error
            raise
        result = json.load(response["Payload"])
        if "FunctionError" in response:
            problem = result["errorMessage"]
            raise Unknown(f"the function {name} failed: {problem}: see `make logs`")
        if "error" in result:
            kind = PROBLEMS.get(result.get("problem"), Unknown)
            if kind is Unavailable and response["ResponseMetadata"]["RetryAttempts"]:
                kind = Unknown  # the response to an invocation before this one was lost
            raise kind(result["error"])
        return result["tables"]

    def change(self, verb: str, **fields: object) -> Sequence[Table]:
        """Invoke a verb that changes something, with a new `operation_id`.

        Botocore may repeat the invocation, and the function does nothing twice for one id. Raises
        Failed, which says whether anything has changed.
        """
        operation_id = str(uuid.uuid4())
        unknown = UNKNOWN.format(operation_id=operation_id)
        try:
            return self.invoke(verb, operation_id=operation_id, **fields)
        except Unavailable as error:
            raise Failed(f"{error}. Nothing has changed.") from error
        except Unknown as error:
            raise Failed(f"{error}. {unknown}") from error
        except (BotoCoreError, ClientError) as error:
            raise Failed(f"{aws.sentence(error)}. {unknown}") from error


def render(table: Table) -> str:
    """Return a table as text, with aligned columns."""
    rows = table["rows"]
    if not rows:
        return f"{table['title']}: none"
    texts = [
        [*rows[0]],
        *(["-" if value is None else str(value) for value in row.values()] for row in rows),
    ]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    lines = [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in texts
    ]
    if table["cut"]:
        lines.append(f"... cut at {len(rows):,} rows: there are more")
    return "\n".join([f"{table['title']}:", *lines])


def show(tables: Sequence[Table]) -> None:
    print("\n\n".join(map(render, tables)))


def remind(function: OperateFunction, *, yes: bool) -> None:
    """Show the stuck orders, ask, and remind the factory of exactly these.

    Raises Failed and terminal.Declined.

    yes: do not ask.
    """
    stuck = function.invoke("stuck")
    show(stuck)
    order_ids = [row["order_id"] for table in stuck for row in table["rows"]]
    if not order_ids:
        return
    if not yes:
        question = f"Remind the factory of {len(order_ids)} order(s)?"
        terminal.confirm(question, otherwise="Nothing was done")
    show(function.change("remind", order_ids=order_ids))


def run(function: OperateFunction, arguments: argparse.Namespace) -> None:
    """Execute the command and print what it returns.

    Raises Failed, terminal.Declined, and botocore's errors.
    """
    match arguments.verb:
        case "orders" | "books" as verb:
            show(function.invoke(verb))
        case "order":
            show(function.invoke("order", order_id=arguments.id))
        case "remind":
            remind(function, yes=arguments.yes)
        case "stocktake":
            fields = {"slug": arguments.slug, "reason": arguments.reason}
            show(function.change("stocktake", count=int(arguments.count), **fields))
        case "adjust":
            fields = {"slug": arguments.slug, "reason": arguments.reason}
            show(function.change("adjust", amount=int(arguments.n), **fields))


def require_values(arguments: argparse.Namespace) -> None:
    """Raise Failed unless the command has the values that it needs."""
    complete = {
        "order": arguments.id,
        "stocktake": re.fullmatch("[0-9]{1,18}", arguments.count)
        and arguments.slug
        and arguments.reason,
        "adjust": re.fullmatch("[+-][0-9]{1,18}", arguments.n)
        and arguments.slug
        and arguments.reason,
    }
    if not complete.get(arguments.verb, True):
        raise Failed(USAGE[arguments.verb])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m operations.operate", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("environment", choices=ENVIRONMENTS)
    parser.add_argument(
        "verb", choices=["orders", "order", "books", "remind", "stocktake", "adjust"]
    )
    parser.add_argument("--id", default="", help="of a production order")
    parser.add_argument("--slug", default="", help="of a product")
    parser.add_argument("--count", default="", help="how many pieces were counted")
    parser.add_argument("--n", default="", help="pieces to add, such as +3, or to take, such as -3")
    parser.add_argument("--reason", default="", help="why the stock is corrected")
    parser.add_argument("--yes", action="store_true", help="do not ask before reminding")
    arguments = parser.parse_args()
    settings = ENVIRONMENTS[arguments.environment]
    with aws.errors_as_sentences():
        try:
            require_values(arguments)
            _, claimed_by = guard.require_credentials()
            client = aws.client("lambda", config=PATIENT)
            run(OperateFunction(client, settings, claimed_by=claimed_by), arguments)
        except (Failed, guard.Stop, terminal.Declined) as reason:
            sys.exit(str(reason))


if __name__ == "__main__":
    main()
