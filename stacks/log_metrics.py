"""The metrics that are made from the functions' log lines. Each costs 0.30 USD per month."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_logs as logs
from constructs import Construct

from settings import Settings
from stacks.function import Function
from stacks.service_stack import ServiceStack

MINUTE = cdk.Duration.minutes(1)
FIVE_MINUTES = cdk.Duration.minutes(5)


class LogMetrics:
    """The metrics of checkouts and production orders.

    A metric of the relay has the highest value per minute. Any other has the sum of five minutes.
    """

    def __init__(self, scope: Construct, *, settings: Settings, service: ServiceStack) -> None:
        """Add the metric filters to the scope."""
        self._scope = scope
        self._namespace = settings.metric_namespace
        self.oldest_unpublished_seconds = self._of_relay(service, "oldest_unpublished_seconds")
        self.unpublished = self._of_relay(service, "unpublished")
        self.stuck = self._of_relay(service, "stuck")
        self.sold = self._add(service.sales, "sold", {"message": "checkout", "outcome": "sold"})
        self.out_of_stock = self._add(
            service.sales, "out_of_stock", {"message": "checkout", "outcome": "out_of_stock"}
        )
        self.published_by_sales, self.published_by_relay = (
            self._add(function, f"published_by_{function.folder}", {"message": "published"})
            for function in (service.sales, service.relay)
        )
        self.placed = self._add(service.consumer, "placed", {"message": "placed"})
        arrival: dict[str, str | bool] = {"message": "restock", "added": True}
        self.arrived = self._add(service.restock, "arrived", arrival)
        self.lead_time_seconds = self._add(
            service.restock, "lead_time_seconds", arrival, value="$.lead_time_seconds"
        )

    def _of_relay(self, service: ServiceStack, field: str) -> cloudwatch.Metric:
        """Add a metric of a field in the line that the relay logs at the end of each run."""
        return self._add(service.relay, field, {"message": "relay"}, value=f"$.{field}").with_(
            statistic="Maximum", period=MINUTE
        )

    def _add(
        self, function: Function, name: str, fields: dict[str, str | bool], *, value: str = "1"
    ) -> cloudwatch.Metric:
        """Add a metric that is made from the log lines with these fields.

        value: what each line adds to the metric, a number or a field such as `$.stuck`.
        """
        pattern = logs.FilterPattern.all(
            *(
                logs.FilterPattern.boolean_value(f"$.{field}", expected)
                if isinstance(expected, bool)
                else logs.FilterPattern.string_value(f"$.{field}", "=", expected)
                for field, expected in fields.items()
            )
        )
        metric_filter = logs.MetricFilter(
            self._scope,
            f"{function.node.id}_{name}",
            log_group=function.log_group,
            filter_pattern=pattern,
            metric_namespace=self._namespace,
            metric_name=name,
            metric_value=value,
        )
        return metric_filter.metric(statistic="Sum", period=FIVE_MINUTES)
