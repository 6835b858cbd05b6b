"""The dashboard, in the order of an operator's questions: what is wrong, what sells, what waits.

Graphs show metrics. The stock and the errors are the results of log queries, which cost nothing
while nobody looks at them.
"""

from collections.abc import Sequence
from typing import NamedTuple

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_rds as rds
from constructs import Construct

from settings import REGION, Settings
from stacks.data_stack import DataStack
from stacks.function import Function
from stacks.log_metrics import FIVE_MINUTES, LogMetrics
from stacks.messaging_stack import MessagingStack
from stacks.service_stack import ServiceStack

COLUMNS = 24
"""The width of the dashboard."""
CONSOLE = f"https://{REGION}.console.aws.amazon.com/cloudwatch/home?region={REGION}"
TABLE = cloudwatch.LogQueryVisualizationType.TABLE
LINE = cloudwatch.LogQueryVisualizationType.LINE
STOCK = [
    'filter message = "stock"',
    "stats latest(stock) as current, min(stock) as lowest by slug",
    "sort current asc",
]
LOWEST_STOCK = ['filter message = "stock"', "stats min(stock) as lowest by bin(5m)"]
LAST_ERRORS = [
    "fields @timestamp, @log, message, reason, order_id, errorType, errorMessage, record.status",
    'filter level = "ERROR" or (type = "platform.report" and record.status != "success")',
    "sort @timestamp desc",
    "limit 50",
]
"""The second condition finds invocations that end without a line of their own, such as timeouts."""


class Graph(NamedTuple):
    """A graph, with metrics on its left and on its right axis."""

    title: str
    left: Sequence[cloudwatch.IMetric]
    right: Sequence[cloudwatch.IMetric] = ()


class Dashboard(cloudwatch.Dashboard):
    """The dashboard of one environment. Each method adds a row."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        data: DataStack,
        messaging: MessagingStack,
        service: ServiceStack,
        metrics: LogMetrics,
        alarms: Sequence[cloudwatch.IAlarm],
    ) -> None:
        super().__init__(scope, id, dashboard_name=settings.shop_name)
        self._settings = settings
        self._add_alarms(alarms)
        self._add_stock(service.relay)
        self._add_orders(metrics)
        self._add_waiting(messaging, metrics)
        self._add_times(service, metrics)
        self._add_functions(service.functions)
        if data.database.instance:
            self._add_database(data.database.instance.construct)
        self._add_errors(service.functions)

    def _add_alarms(self, alarms: Sequence[cloudwatch.IAlarm]) -> None:
        url = self._settings.runbook_url
        runbook = (
            f"[docs/runbook.md]({url})"
            if url
            else "docs/runbook.md (`runbook_url` in settings.py makes this a link)"
        )
        command = f"ENV={self._settings.name} make"
        links = (
            f"Each alarm has a section in {runbook}, and its text names the command to start with."
            "\n\n"
            f"- `{command} status`\n- `{command} orders`\n- `{command} logs`\n"
            f"- [Logs Insights]({CONSOLE}#logsV2:logs-insights), with saved queries"
        )
        self.add_widgets(
            cloudwatch.AlarmStatusWidget(title="Alarms", alarms=alarms, width=18, height=6),
            cloudwatch.TextWidget(markdown=links, width=6, height=6),
        )

    def _add_stock(self, relay: Function) -> None:
        self.add_widgets(
            self._query("Stock", STOCK, [relay], view=TABLE, width=8),
            self._query("Lowest stock of a product", LOWEST_STOCK, [relay], view=LINE, width=16),
        )

    def _add_orders(self, metrics: LogMetrics) -> None:
        """Add one graph with the steps from a checkout to the arrival of its production order."""
        sold = metrics.sold.with_(label="Sold")
        out_of_stock = metrics.out_of_stock.with_(label="Out of stock")
        published = {
            "by_sales": metrics.published_by_sales,
            "by_relay": metrics.published_by_relay,
        }
        steps: list[cloudwatch.IMetric] = [
            _total("Checkouts", sold=sold, out_of_stock=out_of_stock),
            sold,
            out_of_stock,
            _total("Published, with reminders", **published),
            metrics.placed.with_(label="Placed at the factory"),
            metrics.arrived.with_(label="Arrived"),
        ]
        self._add_row(Graph("From checkout to arrival", steps))

    def _add_waiting(self, messaging: MessagingStack, metrics: LogMetrics) -> None:
        queue, dlq = messaging.stock_queue, messaging.stock_dlq
        self._add_row(
            Graph(
                "Outbox: unpublished orders",
                [_maximum(metrics.unpublished, "Orders")],
                [_maximum(metrics.oldest_unpublished_seconds, "Age of the oldest, seconds")],
            ),
            Graph(
                "Queue",
                [_maximum(queue.metric_approximate_number_of_messages_visible(), "Messages")],
                [
                    _maximum(
                        queue.metric_approximate_age_of_oldest_message(),
                        "Age of the oldest, seconds",
                    )
                ],
            ),
            Graph(
                "Dead-letter queue",
                [_maximum(dlq.metric_approximate_number_of_messages_visible(), "Messages")],
            ),
            Graph("Stuck orders", [_maximum(metrics.stuck, "Orders")]),
        )

    def _add_times(self, service: ServiceStack, metrics: LogMetrics) -> None:
        api, lead_time = service.api, metrics.lead_time_seconds
        self._add_row(
            Graph(
                "Lead time from request to arrival, seconds",
                [
                    lead_time.with_(statistic="p50", label="p50"),
                    lead_time.with_(statistic="Maximum", label="Maximum"),
                ],
            ),
            Graph(
                "API: responses",
                [
                    api.metric_count(statistic="Sum", label="All"),
                    api.metric_client_error(statistic="Sum", label="4xx"),
                    api.metric_server_error(statistic="Sum", label="5xx"),
                ],
            ),
            Graph(
                "API: latency, milliseconds",
                [api.metric_latency(statistic=name, label=name) for name in ("p50", "p99")],
            ),
        )

    def _add_functions(self, functions: Sequence[Function]) -> None:
        def graph(title: str, metric: str, statistic: str) -> Graph:
            return Graph(
                f"Functions: {title}",
                [
                    function.metric(metric, statistic=statistic, label=function.folder)
                    for function in functions
                ],
            )

        self._add_row(
            graph("errors", "Errors", "Sum"),
            graph("duration p99, milliseconds", "Duration", "p99"),
            graph("throttles", "Throttles", "Sum"),
            graph("concurrent executions", "ConcurrentExecutions", "Maximum"),
        )

    def _add_database(self, database: rds.DatabaseInstance) -> None:
        self._add_row(
            Graph("Database: CPU, percent", [database.metric_cpu_utilization()]),
            Graph(
                "Database: connections",
                [database.metric_database_connections(statistic="Maximum")],
            ),
            Graph(
                "Database: free storage, bytes",
                [database.metric_free_storage_space(statistic="Minimum")],
            ),
        )

    def _add_errors(self, functions: Sequence[Function]) -> None:
        self.add_widgets(
            self._query("Last errors", LAST_ERRORS, functions, view=TABLE, width=COLUMNS)
        )

    def _add_row(self, *graphs: Graph) -> None:
        """Add graphs of the same width."""
        self.add_widgets(
            *(
                cloudwatch.GraphWidget(
                    title=graph.title,
                    left=list(graph.left),
                    right=list(graph.right),
                    width=COLUMNS // len(graphs),
                )
                for graph in graphs
            )
        )

    def _query(
        self,
        title: str,
        lines: Sequence[str],
        functions: Sequence[Function],
        *,
        view: cloudwatch.LogQueryVisualizationType,
        width: int,
    ) -> cloudwatch.LogQueryWidget:
        """Return a widget with the result of a query of these functions' log lines."""
        return cloudwatch.LogQueryWidget(
            title=title,
            log_group_names=[self._settings.log_group(function.folder) for function in functions],
            query_lines=lines,
            view=view,
            width=width,
        )


def _maximum(metric: cloudwatch.Metric, label: str) -> cloudwatch.Metric:
    return metric.with_(statistic="Maximum", period=FIVE_MINUTES, label=label)


def _total(label: str, **metrics: cloudwatch.IMetric) -> cloudwatch.MathExpression:
    """Return the sum of the metrics, in which a metric without data counts as 0."""
    return cloudwatch.MathExpression(
        expression=f"SUM([{', '.join(metrics)}])", label=label, using_metrics=metrics
    )
