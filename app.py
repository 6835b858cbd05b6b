"""The environments and their stacks. `cdk synth -c env=dev`, or a comma list; calls no AWS.

With `-c github_repository=OWNER/NAME` (or `OWNER@ID/NAME@ID`), instead, what lets that repository deploy these
environments.
"""

import sys

import aws_cdk as cdk

from settings import ENVIRONMENTS, OVERRIDABLE, REGION, Settings
from stacks.data_stack import DataStack
from stacks.github_roles_stack import DeploymentRoleStack, GitHubStack
from stacks.messaging_stack import MessagingStack
from stacks.monitoring_stack import MonitoringStack
from stacks.service_stack import ServiceStack


def chosen(app: cdk.App) -> list[Settings]:
    """The environments that `-c env=` names. Raises ValueError."""
    names = [
        name.strip() for name in (app.node.try_get_context("env") or "").split(",") if name.strip()
    ]
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
    env = cdk.Environment(region=REGION)  # no account: synth never asks AWS
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
    """Mark the stack and all its resources, so that the bill can be split by environment."""
    cdk.Tags.of(stack).add("app", "donut-shop")
    cdk.Tags.of(stack).add("environment", environment)


def add_github_roles(app: cdk.App, repository: str) -> None:
    """Add what lets GitHub deploy the chosen environments: one stack for all of an account, and one for each.

    The context may name an identity provider that the account has already, as `github_oidc_provider_arn`. Raises
    ValueError.
    """
    env = cdk.Environment(region=REGION)
    github = GitHubStack(
        app,
        "donut-shop-github",
        repository=repository,
        provider_arn=app.node.try_get_context("github_oidc_provider_arn") or None,
        env=env,
    )
    cdk.Tags.of(github).add("app", "donut-shop")
    for settings in chosen(app):
        stack = DeploymentRoleStack(
            app, f"donut-shop-github-{settings.name}", settings=settings, github=github, env=env
        )
        tag(stack, environment=settings.name)


if __name__ == "__main__":
    app = cdk.App()
    try:
        if repository := app.node.try_get_context("github_repository"):
            add_github_roles(app, repository)
        else:
            for settings in chosen(app):
                add_stacks(app, settings)
    except ValueError as error:
        sys.exit(f"error: {error}")
    app.synth()
