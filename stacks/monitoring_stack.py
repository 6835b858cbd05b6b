"""The alarms, RDS's events and the budget, their topic, the saved queries and the dashboard.

docs/runbook.md has a section for each alarm, for the events and for the budget.
"""

import aws_cdk as cdk
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_rds as rds
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from settings import ENVIRONMENT_TAG, LOG_QUERIES, MAX_CONNECTIONS, Settings
from stacks.dashboard import Dashboard
from stacks.data_stack import DataStack, Instance
from stacks.log_metrics import FIVE_MINUTES, MINUTE, LogMetrics
from stacks.messaging_stack import MessagingStack
from stacks.service_stack import ServiceStack

GIB = 1024**3
AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
OLDEST_MESSAGE_MINUTES = 10
"""SQS drops a message from this metric at its third receive, before this limit.

The alarm therefore fires only if the consumer does not receive at all.
"""
RELAY_SILENT_MINUTES = 5
SERVER_ERROR_PERCENT = 5
MIN_RESPONSES = 20
"""With fewer responses in five minutes, the share of 5xx is not meaningful."""
SUSTAINED_MINUTES = 15
"""How long the API must be slow, or the database busy."""
SLOW_PERCENT = 1
SLOW_SECONDS = 3
CPU_PERCENT = 80
FREE_STORAGE_PERCENT = 10
CONNECTIONS_PERCENT = 80
OPS_PUBLISHERS = {
    "AllowCloudWatch": "cloudwatch.amazonaws.com",
    "AllowRdsEvents": "events.rds.amazonaws.com",
    "AllowBudgets": "budgets.amazonaws.com",
}
"""Who may publish to the topic Ops, by the id of the policy's statement."""
DATABASE_EVENTS = [
    "availability",
    "deletion",
    "failover",
    "failure",
    "low storage",
    "maintenance",
    "notification",
    "recovery",
]
"""The categories of RDS's events that operators are told of.

`backup` and `configuration change` are left out: there is a backup each day, and RDS renews the
master user's password each week.
"""
BUDGET_PERCENT = 80


class MonitoringStack(cdk.Stack):
    """The alarms, their topic and the dashboard of one environment."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        data: DataStack,
        messaging: MessagingStack,
        service: ServiceStack,
        env: cdk.Environment,
    ) -> None:
        super().__init__(scope, id, env=env, description="Donut shop: alarms and dashboard")
        self._settings = settings
        self._ops = self._add_ops_topic(settings.alarm_email)
        self._metrics = LogMetrics(self, settings=settings, service=service)
        self._alarms: list[cloudwatch.Alarm] = []
        self._alarm_on_orders(messaging, service)
        self._alarm_on_api(service)
        self._alarm_on_functions(service)
        if data.database.instance:
            self._alarm_on_database(data.database.instance)
            self._add_database_events(data.database.instance)
        self._add_budget()
        self._save_queries(service)
        Dashboard(
            self,
            "Dashboard",
            settings=settings,
            data=data,
            messaging=messaging,
            service=service,
            metrics=self._metrics,
            alarms=self._alarms,
        )

    def _add_ops_topic(self, email: str | None) -> sns.Topic:
        """Add the topic that alarms are published to.

        `enforce_ssl` adds a policy that only denies, which replaces the default policy. Without
        statements of their own the services could not publish, and no alarm would reach the topic.
        """
        topic = sns.Topic(
            self, "Ops", topic_name=self._settings.topic_name("donut_shop_ops"), enforce_ssl=True
        )
        for sid, service in OPS_PUBLISHERS.items():
            topic.add_to_resource_policy(
                iam.PolicyStatement(
                    sid=sid,
                    principals=[iam.ServicePrincipal(service)],
                    actions=["sns:Publish"],
                    resources=[topic.topic_arn],
                    conditions={"StringEquals": {"aws:SourceAccount": self.account}},
                )
            )
        if email:
            topic.add_subscription(subscriptions.EmailSubscription(email))
        return topic

    def _alarm_on_orders(self, messaging: MessagingStack, service: ServiceStack) -> None:
        self._alarm(
            "StockDlqNotEmpty",
            "Production orders could not be placed at the factory.",
            run="logs",
            metric=messaging.stock_dlq.metric_approximate_number_of_messages_visible(
                period=MINUTE, statistic="Maximum"
            ),
            threshold=1,
        )
        self._alarm(
            "OldestMessage",
            f"A production order has waited for {OLDEST_MESSAGE_MINUTES} minutes: "
            "the consumer does not take messages.",
            run="status",
            metric=messaging.stock_queue.metric_approximate_age_of_oldest_message(
                period=MINUTE, statistic="Maximum"
            ),
            threshold=OLDEST_MESSAGE_MINUTES * 60,
        )
        self._alarm(
            "OldestUnpublishedOrder",
            "Production orders wait in the outbox: neither sales nor the relay can publish them.",
            run="orders",
            metric=self._metrics.oldest_unpublished_seconds,
            threshold=5 * 60,
        )
        self._alarm(
            "StuckOrders",
            f"An order was published {1 + self._settings.max_reminders} times and the factory never "
            "called back, or the order's product was deleted.",
            run="orders",
            metric=self._metrics.stuck,
            threshold=1,
        )
        self._alarm(
            "RelaySilent",
            f"The relay has not run for {RELAY_SILENT_MINUTES} minutes: orders may wait unpublished.",
            run="status",
            metric=service.relay.metric_invocations(period=MINUTE, statistic="Sum"),
            threshold=1,
            operator=BELOW,
            periods=RELAY_SILENT_MINUTES,
            missing=cloudwatch.TreatMissingData.BREACHING,
        )

    def _alarm_on_api(self, service: ServiceStack) -> None:
        self._alarm(
            "ServerErrors",
            f"At least {SERVER_ERROR_PERCENT} % of the responses in five minutes were 5xx, "
            f"of {MIN_RESPONSES} responses or more.",
            run="logs",
            metric=cloudwatch.MathExpression(
                expression=f"IF(responses >= {MIN_RESPONSES}, 100 * errors / responses, 0)",
                label="5xx, percent",
                period=FIVE_MINUTES,
                using_metrics={
                    "errors": service.api.metric_server_error(statistic="Sum"),
                    "responses": service.api.metric_count(statistic="Sum"),
                },
            ),
            threshold=SERVER_ERROR_PERCENT,
        )
        self._alarm(
            "Latency",
            f"At least {SLOW_PERCENT} % of the responses took {SLOW_SECONDS} seconds or more, "
            f"for {SUSTAINED_MINUTES} minutes.",
            run="logs",
            metric=service.api.metric_latency(
                period=FIVE_MINUTES, statistic=f"p{100 - SLOW_PERCENT}"
            ),
            threshold=SLOW_SECONDS * 1000,
            periods=SUSTAINED_MINUTES // 5,
        )

    def _alarm_on_functions(self, service: ServiceStack) -> None:
        for function in service.functions:
            self._alarm(
                f"{function.node.id}Errors",
                f"The function {function.node.id} failed.",
                run="logs",
                metric=function.metric_errors(period=FIVE_MINUTES, statistic="Sum"),
                threshold=1,
            )
            self._alarm(
                f"{function.node.id}Throttles",
                f"The function {function.node.id} was throttled.",
                run="status",
                metric=function.metric_throttles(period=FIVE_MINUTES, statistic="Sum"),
                threshold=1,
            )

    def _alarm_on_database(self, instance: Instance) -> None:
        # The instance's name is another stack's output, which CloudFormation reads only when this
        # stack changes. A restore changes the snapshot's name, and so these descriptions.
        snapshot = instance.settings.snapshot
        restored = f" Restored from {snapshot}." if snapshot else ""
        database = instance.construct
        self._alarm(
            "DatabaseCpu",
            f"The database's CPU utilization has been at least {CPU_PERCENT} % "
            f"for {SUSTAINED_MINUTES} minutes.{restored}",
            run="logs",
            metric=database.metric_cpu_utilization(period=FIVE_MINUTES),
            threshold=CPU_PERCENT,
            periods=SUSTAINED_MINUTES // 5,
        )
        self._alarm(
            "DatabaseStorage",
            f"Less than {FREE_STORAGE_PERCENT} % of the database's storage is free.{restored}",
            run="logs",
            metric=database.metric_free_storage_space(period=FIVE_MINUTES, statistic="Minimum"),
            threshold=instance.settings.storage_gib * GIB * FREE_STORAGE_PERCENT / 100,
            operator=BELOW,
        )
        self._alarm(
            "DatabaseConnections",
            f"At least {CONNECTIONS_PERCENT} % of the database's connections are in use.{restored}",
            run="logs",
            metric=database.metric_database_connections(period=MINUTE, statistic="Maximum"),
            threshold=(
                MAX_CONNECTIONS[instance.settings.instance_class] * CONNECTIONS_PERCENT // 100
            ),
        )

    def _add_database_events(self, instance: Instance) -> None:
        events = rds.CfnEventSubscription(
            self,
            "DatabaseEvents",
            sns_topic_arn=self._ops.topic_arn,
            source_type="db-instance",
            source_ids=[instance.construct.instance_identifier],
            event_categories=DATABASE_EVENTS,
        )
        events.node.add_dependency(self._ops)  # RDS checks at once whether it may publish

    def _add_budget(self) -> None:
        """Add the budget of what is tagged with the environment.

        It has no name: a budget whose alarms change is replaced, and a name can't be used twice.
        """
        budget = budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(
                    amount=self._settings.monthly_budget, unit="USD"
                ),
                cost_filters={"TagKeyValue": [f"user:{ENVIRONMENT_TAG}${self._settings.name}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        notification_type=kind,
                        comparison_operator="GREATER_THAN",
                        threshold=percent,
                        threshold_type="PERCENTAGE",
                    ),
                    subscribers=[
                        budgets.CfnBudget.SubscriberProperty(
                            subscription_type="SNS", address=self._ops.topic_arn
                        )
                    ],
                )
                for kind, percent in (("ACTUAL", BUDGET_PERCENT), ("FORECASTED", 100))
            ],
        )
        budget.node.add_dependency(self._ops)  # Budgets checks at once whether it may publish

    def _save_queries(self, service: ServiceStack) -> None:
        """Save the queries of the functions' logs for the console."""
        for name, query in LOG_QUERIES.items():
            logs.CfnQueryDefinition(
                self,
                f"{name.title().replace(' ', '')}Query",
                name=self._settings.query_name(name),
                query_string=query,
                log_group_names=[
                    self._settings.log_group(function.folder) for function in service.functions
                ],
            )

    def _alarm(
        self,
        id: str,
        description: str,
        *,
        run: str,
        metric: cloudwatch.IMetric,
        threshold: float,
        operator: cloudwatch.ComparisonOperator = AT_LEAST,
        periods: int = 1,
        missing: cloudwatch.TreatMissingData = cloudwatch.TreatMissingData.NOT_BREACHING,
    ) -> None:
        """Add an alarm. The runbook has a section for its id, which names the same command.

        run: the make target to start with, one that works on an account.
        """
        alarm = cloudwatch.Alarm(
            self,
            id,
            alarm_name=self._settings.alarm_name(id),
            alarm_description=(
                f"{description} Run: ENV={self._settings.name} make {run}. docs/runbook.md: {id}"
            ),
            metric=metric,
            threshold=threshold,
            comparison_operator=operator,
            evaluation_periods=periods,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(actions.SnsAction(self._ops))
        alarm.add_ok_action(actions.SnsAction(self._ops))
        self._alarms.append(alarm)
