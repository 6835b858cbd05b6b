"""Stateless: functions, routes, grants, event source, migration trigger."""

import aws_cdk as cdk
import jsii
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_apigatewayv2 as apigatewayv2
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda_event_sources as event_sources
from aws_cdk import aws_logs as logs
from aws_cdk import triggers
from aws_cdk.aws_apigatewayv2_integrations import HttpLambdaIntegration
from constructs import Construct

from settings import DATABASE_USERS, Settings
from stacks.acknowledgments import acknowledge
from stacks.data_stack import DATABASE_NAME, DataStack
from stacks.function import DEFAULT_MEMORY_MIB, Dependencies, Function
from stacks.messaging_stack import MAX_RECEIVES, MessagingStack

ACCESS_LOG_FIELDS = {
    "requestId": "$context.requestId",
    "ip": "$context.identity.sourceIp",
    "requestTime": "$context.requestTime",
    "routeKey": "$context.routeKey",
    "status": "$context.status",
    "responseLength": "$context.responseLength",
    "integrationError": "$context.integrationErrorMessage",
    "latency": "$context.responseLatency",
}
"""No path and no query string: the callback's token is in it."""
MEMORY_MIB = {"sales": 1024, "relay": 1024, "migrate": 512}
"""Function → memory, where it is not Function's default. The share of a processor grows with it, and the first use of
boto3 needs one: a cold function published after 2.5 s with 256 MiB, after 0.6 s with 1,024."""
RETENTION = {1: logs.RetentionDays.ONE_DAY, 7: logs.RetentionDays.ONE_WEEK}
RETENTION |= {30: logs.RetentionDays.ONE_MONTH, 90: logs.RetentionDays.THREE_MONTHS}


@jsii.implements(apigatewayv2.IAccessLogSettings)
class AccessLog:
    def __init__(self, log_group: logs.ILogGroup) -> None:
        self._log_group = log_group

    @property
    def destination(self) -> apigatewayv2.IAccessLogDestination:
        return apigatewayv2.LogGroupLogDestination(self._log_group)

    @property
    def format(self) -> apigateway.AccessLogFormat:
        return apigateway.AccessLogFormat.custom(
            cdk.Stack.of(self._log_group).to_json_string(ACCESS_LOG_FIELDS)
        )


class ServiceStack(cdk.Stack):
    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        data: DataStack,
        messaging: MessagingStack,
        env: cdk.Environment,
    ) -> None:
        super().__init__(scope, id, env=env, description="Donut shop: functions and HTTP API")
        self._settings = settings
        self._data = data
        self._log_retention = RETENTION[settings.log_retention_days]
        self._dependencies = Dependencies(self, "Dependencies")
        self.functions: list[Function] = []

        migration = self._migration()
        self.sales = self._database_function(
            "Sales",
            name="sales",
            environment={
                **self._publisher_variables(messaging),
                "MAX_QUANTITY": str(settings.max_quantity),
                "PUBLISH_WITHIN": str(settings.publish_within),
                "OVERDUE_AFTER": str(settings.overdue_after),
            },
        )
        messaging.stock_empty.grant_publish(self.sales)
        self.restock = self._database_function("Restock", name="restock", environment={})
        self.relay = self._relay(messaging)
        migration.execute_before(self.sales, self.restock, self.relay)

        self.api = self._api()
        self.consumer = self._consumer(messaging)
        cdk.CfnOutput(self, "ApiUrl", value=self.api.api_endpoint)

    def _function(
        self, id: str, *, name: str, environment: dict[str, str], timeout: int, in_vpc: bool
    ) -> Function:
        function = Function(
            self,
            id,
            name=name,
            settings=self._settings,
            environment=environment,
            layer=self._dependencies,
            timeout=timeout,
            log_retention=self._log_retention,
            memory_mib=MEMORY_MIB.get(name, DEFAULT_MEMORY_MIB),
            reserved_concurrency=self._settings.reserved_concurrency.get(name),
            vpc=self._data.vpc if in_vpc else None,
            subnets=self._data.function_subnets if in_vpc else None,
            security_group=self._data.client_security_group if in_vpc else None,
        )
        self.functions.append(function)
        return function

    def _database_variables(self) -> dict[str, str]:
        """Return what every function needs to reach the database.

        Its address comes from another stack's output, which CloudFormation reads only when this stack changes. The
        snapshot's name is that change, and makes the migration run on the restored database.
        """
        snapshot = self._settings.snapshot
        return {
            "DATABASE_HOST": self._data.host,
            "DATABASE_PORT": self._data.port,
            "DATABASE_NAME": DATABASE_NAME,
            "DATABASE_CA_FILE": self._settings.database_ca_file,
            **({"DATABASE_GENERATION": snapshot} if snapshot else {}),
        }

    def _publisher_variables(self, messaging: MessagingStack) -> dict[str, str]:
        """Return what a function needs to publish. The SDK itself reads the endpoint."""
        endpoint = self._settings.sns_endpoint
        return {
            "STOCK_EMPTY_TOPIC_ARN": messaging.stock_empty.topic_arn,
            **({"AWS_ENDPOINT_URL_SNS": endpoint} if endpoint else {}),
        }

    def _login_variables(self, name: str) -> dict[str, str]:
        """Return what the function logs in with: its own secret, or its own user with IAM authentication."""
        if self._data.login_secrets:
            return {"DATABASE_SECRET_ARN": self._data.login_secrets[name].secret_arn}
        return {"DATABASE_USER": DATABASE_USERS[name]}

    def _database_function(
        self, id: str, *, name: str, environment: dict[str, str], timeout: int = 10
    ) -> Function:
        """Create a function that logs in to the database as its own user."""
        function = self._function(
            id,
            name=name,
            environment={
                **self._database_variables(),
                **self._login_variables(name),
                **environment,
            },
            timeout=timeout,
            in_vpc=True,
        )
        self._data.grant_login(function, name)
        return function

    def _migration(self) -> triggers.Trigger:
        """Runs when its code (the SQL files too) changes, before the functions that need the schema."""
        login_secrets = self._data.login_secrets.values()
        user_secret_arns = ",".join(secret.secret_arn for secret in login_secrets)
        function = self._function(
            "Migrate",
            name="migrate",
            environment={
                **self._database_variables(),
                "DATABASE_SECRET_ARN": self._data.master_secret.secret_arn,
                **({"USER_SECRET_ARNS": user_secret_arns} if user_secret_arns else {}),
            },
            timeout=14 * 60,
            in_vpc=True,
        )
        for secret in (self._data.master_secret, *login_secrets):
            secret.grant_read(function)
        return triggers.Trigger(
            self, "Migration", handler=function, timeout=cdk.Duration.minutes(15)
        )

    def _relay(self, messaging: MessagingStack) -> Function:
        relay = self._database_function(
            "Relay",
            name="relay",
            environment={
                **self._publisher_variables(messaging),
                "OVERDUE_AFTER": str(self._settings.overdue_after),
                "MAX_REMINDERS": str(self._settings.max_reminders),
                "IDEMPOTENCY_RETENTION": str(self._settings.idempotency_retention),
            },
            timeout=55,
        )
        messaging.stock_empty.grant_publish(relay)
        # EventBridge invokes asynchronously: Lambda itself would repeat a failed run twice, and a late one for 6 hours.
        relay.configure_async_invoke(retry_attempts=0, max_event_age=cdk.Duration.seconds(60))
        events.Rule(
            self,
            "EachMinute",
            schedule=events.Schedule.rate(cdk.Duration.minutes(1)),
            targets=[targets.LambdaFunction(relay, retry_attempts=0)],
        )
        return relay

    def _api(self) -> apigatewayv2.HttpApi:
        sales = HttpLambdaIntegration("SalesIntegration", self.sales)
        restock = HttpLambdaIntegration("RestockIntegration", self.restock)
        api = apigatewayv2.HttpApi(
            self,
            "Api",
            api_name=self._settings.shop_name,
            create_default_stage=False,
            default_integration=sales,
        )
        get, post = apigatewayv2.HttpMethod.GET, apigatewayv2.HttpMethod.POST
        api.add_routes(path="/product/{slug}", methods=[get], integration=sales)
        callback_routes = api.add_routes(
            path="/product/{slug}", methods=[post], integration=restock
        )
        api.add_routes(path="/checkout", methods=[post], integration=sales)
        api.add_routes(path="/order/{order_id}", methods=[get], integration=sales)
        acknowledge(api, "APIG4", "a public shop; the callback route checks the order's own token")
        throttle, callback_throttle = self._settings.throttle, self._settings.callback_throttle
        stage = apigatewayv2.HttpStage(
            self,
            "Stage",
            http_api=api,
            auto_deploy=True,
            throttle=apigatewayv2.ThrottleSettings(
                rate_limit=throttle.rate, burst_limit=throttle.burst
            ),
            access_log_settings=AccessLog(
                logs.LogGroup(
                    self,
                    "AccessLogs",
                    log_group_name=self._settings.access_log_group,
                    retention=self._log_retention,
                    removal_policy=cdk.RemovalPolicy.DESTROY,
                )
            ),
        )
        stage.node.add_dependency(
            *callback_routes
        )  # route settings name a route that must be there
        cfn_stage = stage.node.default_child
        assert isinstance(cfn_stage, apigatewayv2.CfnStage)
        cfn_stage.route_settings = {
            "POST /product/{slug}": {
                "ThrottlingRateLimit": callback_throttle.rate,
                "ThrottlingBurstLimit": callback_throttle.burst,
            }
        }
        return api

    def _consumer(self, messaging: MessagingStack) -> Function:
        """Outside the VPC: it needs the internet, and no database."""
        consumer = self._function(
            "Consumer",
            name="consumer",
            environment={
                "FACTORY_URL": self._settings.factory_url,
                "FACTORY_DEADLINE": str(self._settings.factory_deadline),
                "PUBLIC_URL": self._settings.public_url or self.api.api_endpoint,
                "STOCK_QUEUE_URL": messaging.stock_queue.queue_url,
                "RETRY_DELAY": str(self._settings.retry_delay),
                "MAX_RECEIVES": str(MAX_RECEIVES),
            },
            timeout=self._settings.consumer_timeout,
            in_vpc=False,
        )
        consumer.add_event_source(
            event_sources.SqsEventSource(
                messaging.stock_queue,
                batch_size=10,
                report_batch_item_failures=True,
                max_concurrency=self._settings.consumer_concurrency,
            )
        )
        return consumer
