"""The dashboard has its widgets in order, and everything that they show exists."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from settings import ENVIRONMENTS, LAMBDAS, ExistingDatabase
from tests.support.assembly import Assembly, construct, synth
from tests.support.log_lines import logged_fields

DATABASE = ["Database: CPU, percent", "Database: connections", "Database: free storage, bytes"]
TITLES = [
    "Alarms",
    None,
    "Stock",
    "Lowest stock of a product",
    "From checkout to arrival",
    "Outbox: unpublished orders",
    "Queue",
    "Dead-letter queue",
    "Stuck orders",
    "Lead time from request to arrival, seconds",
    "API: responses",
    "API: latency, milliseconds",
    "Functions: errors",
    "Functions: duration p99, milliseconds",
    "Functions: throttles",
    "Functions: concurrent executions",
    *DATABASE,
    "Last errors",
]
"""The titles of all widgets, in order. The text has none."""
AWS_METRICS = {
    "AWS/ApiGateway": ("ApiId", "AWS::ApiGatewayV2::Api", {"4xx", "5xx", "Count", "Latency"}),
    "AWS/Lambda": (
        "FunctionName",
        "AWS::Lambda::Function",
        {"ConcurrentExecutions", "Duration", "Errors", "Throttles"},
    ),
    "AWS/RDS": (
        "DBInstanceIdentifier",
        "AWS::RDS::DBInstance",
        {"CPUUtilization", "DatabaseConnections", "FreeStorageSpace"},
    ),
    "AWS/SQS": (
        "QueueName",
        "AWS::SQS::Queue",
        {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"},
    ),
}
"""Namespace → a dimension, the type of the resource that it names, and the metrics that AWS
publishes by this dimension."""
BY_LAMBDA = {
    *("@log", "@timestamp", "level", "message", "type"),
    *("errorMessage", "errorType", "record.status"),
}
"""The fields that CloudWatch, Lambda and its runtime add to log lines."""
KEYWORDS = {"and", "as", "asc", "by", "desc", "fields", "filter", "limit", "or", "sort", "stats"}

Widget = dict[str, Any]


def body(assembly: Assembly) -> str:
    """Return the dashboard's JSON. A reference is replaced by the logical id that it leads to."""
    _, dashboard = assembly.one("AWS::CloudWatch::Dashboard")
    parts = dashboard["DashboardBody"]["Fn::Join"][1]
    return "".join(part if isinstance(part, str) else assembly.origin(part) for part in parts)


def widgets(assembly: Assembly) -> list[Widget]:
    listed: list[Widget] = json.loads(body(assembly))["widgets"]
    return listed


def titles(assembly: Assembly) -> list[str | None]:
    return [widget["properties"].get("title") for widget in widgets(assembly)]


def metrics(assembly: Assembly) -> Iterator[tuple[str, list[str]]]:
    """Yield the title of each graph with each of its metrics: namespace, name, dimensions."""
    for widget in widgets(assembly):
        for metric in widget["properties"].get("metrics", []):
            identity = [part for part in metric if isinstance(part, str)]
            if identity:  # a formula has no name
                yield widget["properties"]["title"], identity


def test_widgets_are_in_the_order_of_an_operators_questions(assembly: Assembly) -> None:
    assert titles(assembly) == TITLES


def test_rows_are_as_wide_as_the_dashboard(assembly: Assembly) -> None:
    width: Counter[int] = Counter()
    for widget in widgets(assembly):
        assert widget["x"] == width[widget["y"]], widget["properties"]
        width[widget["y"]] += widget["width"]
    assert set(width.values()) == {24}


def test_every_alarm_is_in_the_status_widget(assembly: Assembly) -> None:
    first = widgets(assembly)[0]
    assert first["type"] == "alarm"
    shown = {construct(id) for id in first["properties"]["alarms"]}
    assert shown == {construct(id) for id, _ in assembly.each("AWS::CloudWatch::Alarm")}


def test_metrics_of_the_shop_are_shown_and_made(assembly: Assembly) -> None:
    """A metric that nobody looks at costs as much as the others."""
    namespace = assembly.settings.metric_namespace
    made = {
        transformation["MetricName"]
        for _, metric_filter in assembly.each("AWS::Logs::MetricFilter")
        for transformation in metric_filter["MetricTransformations"]
    }
    shown = {name for _, (space, name, *_) in metrics(assembly) if space == namespace}
    assert shown == made


def test_metrics_of_aws_exist(assembly: Assembly) -> None:
    for title, (namespace, name, *dimensions) in metrics(assembly):
        if namespace == assembly.settings.metric_namespace:
            assert dimensions == [], f"{title}: {name}"
            continue
        assert namespace in AWS_METRICS, f"{title}: add {namespace} to AWS_METRICS"
        dimension, kind, published = AWS_METRICS[namespace]
        assert name in published, f"{title}: AWS publishes no {namespace} {name} by {dimension}"
        (named, id) = dimensions
        assert named == dimension, f"{title}: {name}"
        assert id in assembly.resources(kind), f"{title}: {name} of {id}"


def test_formulas_add_up_metrics_of_their_own_graph(assembly: Assembly) -> None:
    formulas = 0
    for widget in widgets(assembly):
        options = [metric[-1] for metric in widget["properties"].get("metrics", [])]
        ids = {option["id"] for option in options if "id" in option}
        for option in options:
            if "expression" in option:
                formulas += 1
                added = re.fullmatch(r"SUM\(\[(.+)\]\)", option["expression"])
                assert added, option
                assert set(added[1].split(", ")) <= ids, option
    assert formulas == 2


def test_graphs_of_functions_have_every_function(assembly: Assembly) -> None:
    ids = {
        id: assembly.settings.function_of(function["FunctionName"])
        for id, function in assembly.each("AWS::Lambda::Function")
        if "FunctionName" in function
    }
    shown = Counter(
        ids[dimensions[1]]
        for title, (_, _, *dimensions) in metrics(assembly)
        if title.startswith("Functions: ")
    )
    assert shown == dict.fromkeys(assembly.functions(), 4)


def test_queues_are_not_confused(assembly: Assembly) -> None:
    shown = {
        title: construct(dimensions[1])
        for title, (namespace, _, *dimensions) in metrics(assembly)
        if namespace == "AWS/SQS"
    }
    assert shown == {"Queue": "StockQueue", "Dead-letter queue": "StockDlq"}


def queries(assembly: Assembly) -> Iterator[tuple[str, set[str], str]]:
    """Yield the title of each log query, the functions whose logs it reads, and its text."""
    functions = {assembly.settings.log_group(name): name for name in assembly.functions()}
    for widget in widgets(assembly):
        if widget["type"] == "log":
            properties = widget["properties"]
            groups = re.findall(r"SOURCE '([^']+)' \| ", properties["query"])
            text = re.sub(r"SOURCE '[^']+' \| ", "", properties["query"])
            yield properties["title"], {functions[group] for group in groups}, text


def fields_read(query: str) -> set[str]:
    """Return the names in a query that are neither texts, keywords, functions nor its own names."""
    text = re.sub(r'"[^"]*"', "", query)
    names = set(re.findall(r"(?<![\w@.])@?[A-Za-z][\w.]*(?![\w.]*\()", text))
    return names - KEYWORDS - set(re.findall(r"\bas (\w+)", text))


def test_fields_of_a_query_are_found() -> None:
    query = 'fields @log, a.b\n| filter x = "y z" or n > 5\n| stats max(v) as top by bin(5m), slug'
    assert fields_read(query) == {"@log", "a.b", "x", "n", "v", "slug"}


def test_log_queries_read_fields_that_functions_log(assembly: Assembly) -> None:
    assert [title for title, _, _ in queries(assembly)] == [
        "Stock",
        "Lowest stock of a product",
        "Last errors",
    ]
    for title, functions, query in queries(assembly):
        logged: dict[str, set[str]] = {}
        for folder in functions:
            for message, fields in logged_fields(folder).items():
                logged.setdefault(message, set()).update(fields)
        messages = re.findall(r'message = "([^"]+)"', query)
        for message in messages:
            assert message in logged, f"{title}: {functions} do not log {message!r}"
        known = set().union(*(logged[message] for message in messages or logged))
        unknown = fields_read(query) - known - BY_LAMBDA
        assert not unknown, f"{title}: no line of {functions} has {unknown}"


def test_errors_of_every_function_are_listed(assembly: Assembly) -> None:
    *_, (title, functions, _) = queries(assembly)
    assert title == "Last errors"
    assert functions == {path.parent.name for path in LAMBDAS.glob("*/handler.py")}


def text(assembly: Assembly) -> str:
    (markdown,) = [
        widget["properties"]["markdown"] for widget in widgets(assembly) if widget["type"] == "text"
    ]
    return str(markdown)


def test_text_names_commands_and_links_to_log_queries(assembly: Assembly) -> None:
    for target in ("status", "orders", "logs"):
        assert f"`ENV={assembly.name} make {target}`" in text(assembly), target
    assert "docs/runbook.md (`runbook_url` in settings.py makes this a link)" in text(assembly)
    assert (
        "(https://ap-northeast-2.console.aws.amazon.com/cloudwatch/home?region=ap-northeast-2"
        "#logsV2:logs-insights)"
    ) in text(assembly)


def test_text_links_to_the_runbook_where_it_is_published(tmp_path: Path) -> None:
    settings = replace(ENVIRONMENTS["dev"], runbook_url="https://docs.test/runbook.md")
    assert "in [docs/runbook.md](https://docs.test/runbook.md)," in text(synth(settings, tmp_path))


def test_existing_database_is_left_to_its_owner(tmp_path: Path) -> None:
    existing = ExistingDatabase(
        vpc_id="vpc-1",
        subnet_ids=("subnet-1", "subnet-2"),
        security_group_id="sg-1",
        host="db.test",
        port=3306,
        secret_arn="arn:aws:secretsmanager:ap-northeast-2:123456789012:secret:db-AbCdEf",
    )
    assembly = synth(replace(ENVIRONMENTS["dev"], database=existing), tmp_path)
    assert titles(assembly) == [title for title in TITLES if title not in DATABASE]
