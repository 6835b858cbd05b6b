"""Alarms and the topic they go to. Each alarm's text says what to run; docs/runbook.md has the whole story."""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sns as sns
from constructs import Construct

from stacks.messaging_stack import MessagingStack
from stacks.service_stack import ServiceStack
from stacks.settings import Settings


class MonitoringStack(cdk.Stack):
    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        messaging: MessagingStack,
        service: ServiceStack,
        env: cdk.Environment,
    ) -> None:
        super().__init__(scope, id, env=env, description="Donut shop: alarms")
        self._environment = settings.environment
        self.ops = self._ops_topic()
        minute = cdk.Duration.minutes(1)

        self._alarm(
            "StockDlqNotEmpty",
            "Production orders that could not be delivered. Run: make redrive",
            messaging.stock_dlq.metric_approximate_number_of_messages_visible(period=minute, statistic="Maximum"),
            threshold=1,
        )
        self._alarm(
            "OldestUnpublishedOrder",
            "Production orders wait in the outbox: the relay can't reach the topic. Run: make orders",
            self._relay_metric(service, "oldest_unpublished_seconds"),
            threshold=5 * 60,
        )
        self._alarm(
            "StuckOrders",
            "The factory never delivered, asked as often as allowed. Run: make orders",
            self._relay_metric(service, "stuck"),
            threshold=1,
        )
        self._alarm(
            "RelaySilent",
            "The relay has not run for 5 minutes: orders may wait unseen. Run: make logs",
            service.relay.metric_invocations(period=minute, statistic="Sum"),
            threshold=1,
            operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
            periods=5,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )

    def _ops_topic(self) -> sns.Topic:
        """enforce_ssl alone leaves a policy of one Deny, and no alarm would ever arrive: let CloudWatch publish."""
        topic = sns.Topic(self, "Ops", topic_name=f"donut_shop_ops_{self._environment}", enforce_ssl=True)
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                sid="AllowCloudWatch",
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        return topic

    def _relay_metric(self, service: ServiceStack, field: str) -> cloudwatch.Metric:
        """A field of the relay's closing log line, as a metric. Its highest value a minute."""
        metric_filter = logs.MetricFilter(
            self,
            f"Relay_{field}",
            log_group=service.relay.log_group,
            filter_pattern=logs.FilterPattern.string_value("$.message", "=", "relay"),
            metric_namespace=f"DonutShop/{self._environment}",
            metric_name=field,
            metric_value=f"$.{field}",
        )
        return metric_filter.metric(period=cdk.Duration.minutes(1), statistic="Maximum")

    def _alarm(
        self,
        id: str,
        description: str,
        metric: cloudwatch.IMetric,
        *,
        threshold: float,
        operator: cloudwatch.ComparisonOperator = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        periods: int = 1,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> None:
        alarm = cloudwatch.Alarm(
            self,
            id,
            alarm_name=f"donut-shop-{self._environment}-{id}",
            alarm_description=description,
            metric=metric,
            threshold=threshold,
            comparison_operator=operator,
            evaluation_periods=periods,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(actions.SnsAction(self.ops))
        alarm.add_ok_action(actions.SnsAction(self.ops))
