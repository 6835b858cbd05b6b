"""The CDK app: the stacks of the environments that `-c env=dev` names, or a comma-separated list.

With `-c github_repository=OWNER/NAME` (or `OWNER@ID/NAME@ID`) it has, instead, the stacks that let
that repository deploy these environments. Synthesis makes no AWS call.
"""

import sys

import aws_cdk as cdk

from settings import (
    APP_TAG,
    ENVIRONMENT_TAG,
    ENVIRONMENTS,
    GITHUB_STACK_NAME,
    LAMBDAS,
    OVERRIDABLE,
    PREFIX,
    REGION,
    Settings,
)
from stacks.data_stack import DataStack
from stacks.github_roles_stack import DeploymentRoleStack, GitHubStack
from stacks.messaging_stack import MessagingStack
from stacks.monitoring_stack import MonitoringStack
from stacks.service_stack import ServiceStack

sys.path.append(str(LAMBDAS))
from migrate import catalogue


def chosen_environments(app: cdk.App) -> list[Settings]:
    """Return the environments that `-c env=` names. Raises ValueError."""
    listed = (app.node.try_get_context("env") or "").split(",")
    names = [name.strip() for name in listed if name.strip()]
    unknown = [name for name in names if name not in ENVIRONMENTS]
    if not names or unknown:
        problem = (
            f"unknown environment {', '.join(unknown)}" if unknown else "no environment chosen"
        )
        raise ValueError(
            f"{problem}: pass -c env=NAME, or a comma list, of {', '.join(ENVIRONMENTS)}"
        )
    overrides = {name: app.node.try_get_context(name) for name in OVERRIDABLE}
    return [ENVIRONMENTS[name].override(overrides) for name in dict.fromkeys(names)]


def add_stacks(app: cdk.App, settings: Settings) -> None:
    """Add the stacks of one environment."""
    env = cdk.Environment(region=REGION)  # without an account, synthesis never calls AWS
    messaging = MessagingStack(app, settings.stack_name("messaging"), settings=settings, env=env)
    data = DataStack(
        app, settings.stack_name("data"), settings=settings, topic=messaging.stock_empty, env=env
    )
    service = ServiceStack(
        app,
        settings.stack_name("service"),
        settings=settings,
        data=data,
        messaging=messaging,
        env=env,
    )
    monitoring = MonitoringStack(
        app,
        settings.stack_name("monitoring"),
        settings=settings,
        data=data,
        messaging=messaging,
        service=service,
        env=env,
    )
    for stack in (messaging, data, service, monitoring):
        tag(stack, environment=settings.name)


def tag(stack: cdk.Stack, *, environment: str) -> None:
    """Tag the stack and all its resources, so that the bill can be split by environment."""
    cdk.Tags.of(stack).add(APP_TAG, PREFIX)
    cdk.Tags.of(stack).add(ENVIRONMENT_TAG, environment)


def add_github_roles(app: cdk.App, repository: str) -> None:
    """Add the stacks that let GitHub deploy the chosen environments. Raises ValueError.

    There is one stack per account, and one per environment. If the account has GitHub's identity
    provider already, the context names it as `github_oidc_provider_arn`.
    """
    env = cdk.Environment(region=REGION)
    github = GitHubStack(
        app,
        GITHUB_STACK_NAME,
        repository=repository,
        provider_arn=app.node.try_get_context("github_oidc_provider_arn") or None,
        env=env,
    )
    cdk.Tags.of(github).add(APP_TAG, PREFIX)
    for settings in chosen_environments(app):
        stack = DeploymentRoleStack(
            app, settings.stack_name("github"), settings=settings, github=github, env=env
        )
        tag(stack, environment=settings.name)


if __name__ == "__main__":
    app = cdk.App()
    try:
        if repository := app.node.try_get_context("github_repository"):
            add_github_roles(app, repository)
        else:
            catalogue.load()
            for settings in chosen_environments(app):
                add_stacks(app, settings)
    except ValueError as error:
        sys.exit(f"error: {error}")
    app.synth()
