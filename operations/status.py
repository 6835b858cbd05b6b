"""Show what runs in an environment, what is switched off, and what waits.

With --resume, switch on what a person has switched off: no deployment does.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from operations import aws
from operations.operate import Table, render
from operations.smoke import QUEUE_DEPTH
from settings import ENVIRONMENTS, FUNCTIONS, Settings

BACK_MINUTES = 15
"""Minutes of which the throttled invocations are counted."""
PARTS = ("data", "messaging", "service", "monitoring")
QUEUES = ("stock_queue", "stock_dlq")

Client = Callable[[str], Any]
Row = Mapping[str, object]


class NotDeployed(Exception):
    """The environment has no functions. The text is a sentence."""


@dataclass(frozen=True, kw_only=True)
class Switch:
    """Something that people can switch off, and that no deployment switches on again."""

    what: str
    state: str
    is_on: bool
    turn_on: Callable[[], object]
    """Switches it on."""


def switches(client: Client, settings: Settings) -> Iterator[Switch]:
    """Yield what feeds the consumer, what starts the relay, and each function's concurrency."""
    functions, rules = client("lambda"), client("events")
    consumer, relay = (settings.function_name(name) for name in ("consumer", "relay"))
    for mapping in functions.list_event_source_mappings(FunctionName=consumer)[
        "EventSourceMappings"
    ]:
        yield Switch(
            what="event source mapping of consumer",
            state=mapping["State"],
            is_on=mapping["State"] not in ("Disabled", "Disabling"),
            turn_on=partial(
                functions.update_event_source_mapping, UUID=mapping["UUID"], Enabled=True
            ),
        )
    arn = functions.get_function_configuration(FunctionName=relay)["FunctionArn"]
    for name in rules.list_rule_names_by_target(TargetArn=arn)["RuleNames"]:
        state = rules.describe_rule(Name=name)["State"]
        yield Switch(
            what="rule EachMinute of relay",
            state=state,
            is_on=state != "DISABLED",
            turn_on=partial(rules.enable_rule, Name=name),
        )
    for folder in FUNCTIONS:
        name = settings.function_name(folder)
        found = functions.get_function_concurrency(FunctionName=name)
        reserved = found.get("ReservedConcurrentExecutions")
        usual = settings.reserved_concurrency.get(folder)
        yield Switch(
            what=f"reserved concurrency of {folder}",
            state="none" if reserved is None else str(reserved),
            is_on=reserved != 0,  # with 0, Lambda rejects every invocation
            turn_on=partial(functions.delete_function_concurrency, FunctionName=name)
            if usual is None
            else partial(
                functions.put_function_concurrency,
                FunctionName=name,
                ReservedConcurrentExecutions=usual,
            ),
        )


def stacks(client: Client, settings: Settings) -> dict[str, Mapping[str, Any]]:
    """Return the environment's stacks by name, as CloudFormation describes them.

    Raises NotDeployed.
    """
    listed = aws.listed(client("cloudformation"), "describe_stacks", "Stacks")
    found = {stack["StackName"]: stack for stack in listed}
    names = [settings.stack_name(part) for part in PARTS]
    if settings.stack_name("service") not in found:
        raise NotDeployed(f"{settings.name} has no stack {settings.stack_name('service')}")
    return {name: found.get(name, {"StackStatus": "missing"}) for name in names}


def queues(client: Client, settings: Settings) -> Iterator[Row]:
    """Yield how many messages each queue has."""
    sqs = client("sqs")
    for queue in QUEUES:
        url = sqs.get_queue_url(QueueName=settings.queue_name(queue))["QueueUrl"]
        response = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(QUEUE_DEPTH))
        numbers = response["Attributes"]
        visible, in_flight, delayed = (numbers.get(name, "0") for name in QUEUE_DEPTH)
        yield {"queue": queue, "visible": visible, "in_flight": in_flight, "delayed": delayed}


def throttles(client: Client, settings: Settings) -> Iterator[Row]:
    """Yield how many invocations of each function were throttled, if any were."""
    cloudwatch, now = client("cloudwatch"), datetime.now(UTC)
    for folder in FUNCTIONS:
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/Lambda",
            MetricName="Throttles",
            Dimensions=[{"Name": "FunctionName", "Value": settings.function_name(folder)}],
            StartTime=now - timedelta(minutes=BACK_MINUTES),
            EndTime=now + timedelta(minutes=1),
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        if count := round(sum(point["Sum"] for point in points)):
            yield {"function": folder, "throttled": count}


def alarms(client: Client, settings: Settings) -> list[Row]:
    """Return how many alarms are in each state, with the names of those that fire."""
    prefix = settings.alarm_name("")
    request = {"AlarmNamePrefix": prefix}
    found = [*aws.listed(client("cloudwatch"), "describe_alarms", "MetricAlarms", **request)]
    firing = sorted(
        alarm["AlarmName"].removeprefix(prefix) for alarm in found if alarm["StateValue"] == "ALARM"
    )
    return [
        {
            "state": state,
            "alarms": count,
            "names": ", ".join(firing) if state == "ALARM" else None,
        }
        for state, count in sorted(Counter(alarm["StateValue"] for alarm in found).items())
    ]


def database(client: Client, settings: Settings) -> list[Row]:
    """Return the state of the database's instance, as RDS sees it, if its name is known."""
    if settings.database_instance is None:
        return []
    name = settings.database_instance
    instances = aws.listed(client("rds"), "describe_db_instances", "DBInstances")
    states = {each["DBInstanceIdentifier"]: each["DBInstanceStatus"] for each in instances}
    return [{"instance": name, "state": states.get(name, "missing")}]


def api_url(stack: Mapping[str, Any]) -> str:
    """Return the API's URL, which is an output of the stack service."""
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    return str(outputs.get("ApiUrl", "unknown"))


def status(client: Client, settings: Settings, *, url: str | None) -> Iterator[str]:
    """Yield the tables, and then a line for each switch that is off. Raises NotDeployed.

    url: of the API, if the stack does not know it.
    """

    def shown(title: str, rows: Sequence[Row]) -> str:
        table: Table = {"title": title, "rows": rows, "cut": False}
        return render(table)

    found = stacks(client, settings)
    all_switches = list(switches(client, settings))
    yield f"API: {url or api_url(found[settings.stack_name('service')])}"
    states = [{"stack": name, "state": stack["StackStatus"]} for name, stack in found.items()]
    yield shown("stacks", states)
    yield shown("database, as RDS sees it", database(client, settings))
    yield shown("switches", [{"what": each.what, "state": each.state} for each in all_switches])
    yield shown(f"throttled in the last {BACK_MINUTES} minutes", list(throttles(client, settings)))
    yield shown("queues", list(queues(client, settings)))
    yield shown("alarms", alarms(client, settings))
    off = [each for each in all_switches if not each.is_on]
    lines = [f"OFF: {each.what} is {each.state}" for each in off]
    hint = f"`ENV={settings.name} make resume` switches on what is off."
    yield "\n".join([*lines, hint] if off else ["Nothing is off."])


def resume(client: Client, settings: Settings) -> Iterator[str]:
    """Switch on what is off, and yield a line for each. Raises NotDeployed."""
    stacks(client, settings)
    off = [each for each in switches(client, settings) if not each.is_on]
    for each in off:
        each.turn_on()
        yield f"{each.what} was {each.state}, and is switched on"
    if not off:
        yield "Nothing was off."


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m operations.status", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("environment", choices=ENVIRONMENTS)
    parser.add_argument("--resume", action="store_true", help="switch on what is off")
    parser.add_argument("--endpoint", type=Path, help="file with the API's URL, here")
    arguments = parser.parse_args()
    settings, endpoint = ENVIRONMENTS[arguments.environment], arguments.endpoint
    url = endpoint.read_text().strip() if endpoint and endpoint.exists() else None
    with aws.errors_as_sentences():
        try:
            if arguments.resume:
                for line in resume(aws.client, settings):
                    print(line)
            else:
                print("\n\n".join(status(aws.client, settings, url=url)))
        except NotDeployed as reason:
            sys.exit(str(reason))


if __name__ == "__main__":
    main()
