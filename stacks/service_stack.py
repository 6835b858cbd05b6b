"""The stateless part of the shop: functions, the HTTP API, and what invokes the functions."""

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

from settings import Settings, Throttle
from stacks.acknowledgments import acknowledge
from stacks.data_stack import DATABASE_NAME, DataStack
from stacks.function import Dependencies, Function
from stacks.log_group import LogGroup
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
"""The log contains neither the path nor the query string, which holds a callback's token."""
CALLBACK_PATH = "/product/{slug}"
PREFLIGHT_HOURS = 1
"""Time for which a browser remembers the response to a preflight request."""
REQUEST_TIMEOUT = 10
"""Seconds. They include a cold start and the 5 seconds that a request may take."""
OPERATE_TIMEOUT = 35
"""Seconds. They include a cold start and the 25 seconds that an operator's query may take."""


@jsii.implements(apigatewayv2.IAccessLogSettings)
class AccessLogSettings:
    """The access log of a stage. The CDK has only the interface, and no class that implements it."""

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
    """The functions and the HTTP API, created in the order in which they depend on each other."""

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
        self._database = data.database
        self._messaging = messaging
        self._layer = Dependencies(self, "Dependencies")
        self._migration = self._add_migration()

        self.sales = self._add_database_function(
            "sales",
            variables={
                **self._publisher_variables(),
                **settings.variables("max_quantity", "publish_within", "overdue_after"),
            },
            timeout=REQUEST_TIMEOUT,
        )
        messaging.stock_empty.grant_publish(self.sales)
        self.restock = self._add_database_function("restock", variables={}, timeout=REQUEST_TIMEOUT)
        self.relay = self._add_relay()
        # Operators invoke it by its name, if IAM lets them: it has no route and no event source.
        self.operate = self._add_database_function("operate", variables={}, timeout=OPERATE_TIMEOUT)
        self.api = self._add_api()
        self.consumer = self._add_consumer()
        cdk.CfnOutput(self, "ApiUrl", value=self.api.api_endpoint)

    @property
    def functions(self) -> list[Function]:
        """Return the shop's functions. The CDK adds one of its own, which runs the trigger."""
        return [child for child in self.node.children if isinstance(child, Function)]

    def _add_migration(self) -> triggers.Trigger:
        """Add the migration, which runs whenever its code or the database's snapshot has changed.

        The SQL files and the catalogue are part of the code.
        """
        database = self._database
        user_secret_arns = ",".join(secret.secret_arn for secret in database.login_secrets.values())
        function = Function(
            self,
            "migrate",
            settings=self._settings,
            layer=self._layer,
            variables={
                **self._database_variables(),
                "DATABASE_SECRET_ARN": database.master_secret.secret_arn,
                **({"USER_SECRET_ARNS": user_secret_arns} if user_secret_arns else {}),
            },
            timeout=14 * 60,
            network=database.network,
        )
        for secret in (database.master_secret, *database.login_secrets.values()):
            secret.grant_read(function)
        return triggers.Trigger(
            self, "Migration", handler=function, timeout=cdk.Duration.minutes(15)
        )

    def _add_database_function(
        self, folder: str, *, variables: dict[str, str], timeout: int
    ) -> Function:
        """Add a function that logs in to the database as its own user, after the migration."""
        function = Function(
            self,
            folder,
            settings=self._settings,
            layer=self._layer,
            variables={
                **self._database_variables(),
                **self._database.login_variables(folder),
                **variables,
            },
            timeout=timeout,
            network=self._database.network,
        )
        self._database.allow_login(function)
        self._migration.execute_before(function)
        return function

    def _database_variables(self) -> dict[str, str]:
        """Return what a function needs to reach the database.

        The address comes from another stack's output, which CloudFormation reads only when this
        stack changes. DATABASE_GENERATION changes with each restore, and so does this stack. The
        migration therefore runs on the restored database.
        """
        snapshot = self._settings.snapshot
        return {
            "DATABASE_HOST": self._database.host,
            "DATABASE_PORT": self._database.port,
            "DATABASE_NAME": DATABASE_NAME,
            **self._settings.variables("database_ca_file"),
            **({"DATABASE_GENERATION": snapshot} if snapshot else {}),
        }

    def _publisher_variables(self) -> dict[str, str]:
        """Return what a function needs to publish. The AWS SDK itself reads the endpoint."""
        endpoint = self._settings.sns_endpoint
        return {
            "STOCK_EMPTY_TOPIC_ARN": self._messaging.stock_empty.topic_arn,
            **({"AWS_ENDPOINT_URL_SNS": endpoint} if endpoint else {}),
        }

    def _add_relay(self) -> Function:
        relay = self._add_database_function(
            "relay",
            variables={
                **self._publisher_variables(),
                **self._settings.variables(
                    "overdue_after",
                    "max_reminders",
                    "idempotency_retention",
                    "requester_retention",
                ),
            },
            timeout=55,
        )
        self._messaging.stock_empty.grant_publish(relay)
        # EventBridge invokes the function asynchronously. By default, Lambda would repeat a failed
        # run twice and start a delayed one up to six hours later.
        relay.configure_async_invoke(retry_attempts=0, max_event_age=cdk.Duration.seconds(60))
        events.Rule(
            self,
            "EachMinute",
            schedule=events.Schedule.rate(cdk.Duration.minutes(1)),
            targets=[targets.LambdaFunction(relay, retry_attempts=0)],
        )
        return relay

    def _add_api(self) -> apigatewayv2.HttpApi:
        sales = HttpLambdaIntegration("SalesIntegration", self.sales)
        restock = HttpLambdaIntegration("RestockIntegration", self.restock)
        api = apigatewayv2.HttpApi(
            self,
            "Api",
            api_name=self._settings.shop_name,
            create_default_stage=False,
            default_integration=sales,
            cors_preflight=self._cors(),
        )
        get, post = apigatewayv2.HttpMethod.GET, apigatewayv2.HttpMethod.POST
        api.add_routes(path="/product/{slug}", methods=[get], integration=sales)
        callback_routes = api.add_routes(path=CALLBACK_PATH, methods=[post], integration=restock)
        api.add_routes(path="/checkout", methods=[post], integration=sales)
        api.add_routes(path="/order/{order_id}", methods=[get], integration=sales)
        acknowledge(api, "APIG4", "a public shop; the callback route checks the order's own token")
        self._add_stage(api, callback_routes)
        return api

    def _cors(self) -> apigatewayv2.CorsPreflightOptions | None:
        """Return what pages of other origins may send and read, or None if there are none."""
        if not self._settings.allowed_origins:
            return None
        methods = apigatewayv2.CorsHttpMethod
        return apigatewayv2.CorsPreflightOptions(
            allow_origins=list(self._settings.allowed_origins),
            allow_methods=[methods.GET, methods.POST],
            allow_headers=["content-type", "idempotency-key"],
            expose_headers=["retry-after"],
            max_age=cdk.Duration.hours(PREFLIGHT_HOURS),
        )

    def _add_stage(
        self, api: apigatewayv2.HttpApi, callback_routes: list[apigatewayv2.HttpRoute]
    ) -> None:
        throttle = self._settings.throttle
        log_group = LogGroup(
            self,
            "AccessLogs",
            name=self._settings.access_log_group,
            retention_days=self._settings.log_retention_days,
        )
        stage = apigatewayv2.HttpStage(
            self,
            "Stage",
            http_api=api,
            auto_deploy=True,
            throttle=apigatewayv2.ThrottleSettings(
                rate_limit=throttle.rate, burst_limit=throttle.burst
            ),
            access_log_settings=AccessLogSettings(log_group),
        )
        # The stage's settings name these routes, so the routes must exist before the stage.
        stage.node.add_dependency(*callback_routes)
        cfn_stage = stage.node.default_child
        assert isinstance(cfn_stage, apigatewayv2.CfnStage)
        cfn_stage.route_settings = {
            f"POST {CALLBACK_PATH}": _route_settings(self._settings.callback_throttle)
        }

    def _add_consumer(self) -> Function:
        """Add the consumer outside the VPC: it needs the internet, and no database."""
        settings, queue = self._settings, self._messaging.stock_queue
        consumer = Function(
            self,
            "consumer",
            settings=settings,
            layer=self._layer,
            variables={
                **settings.variables("factory_url", "factory_deadline", "retry_delay"),
                "PUBLIC_URL": settings.public_url or self.api.api_endpoint,
                "STOCK_QUEUE_URL": queue.queue_url,
                "MAX_RECEIVES": str(MAX_RECEIVES),
            },
            timeout=settings.consumer_timeout,
        )
        consumer.add_event_source(
            event_sources.SqsEventSource(
                queue,
                batch_size=10,
                report_batch_item_failures=True,
                max_concurrency=settings.consumer_concurrency,
            )
        )
        return consumer


def _route_settings(throttle: Throttle) -> dict[str, int]:
    """Return a route's throttle as CloudFormation spells it."""
    return {"ThrottlingRateLimit": throttle.rate, "ThrottlingBurstLimit": throttle.burst}
