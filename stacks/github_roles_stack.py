"""What GitHub Actions may do in an account.

`make deploy-github-roles` deploys these stacks by hand, once per environment. An environment's role
may assume the CDK's own roles and ask AWS what `make smoke` asks. It is in a stack of its own, so
that a deployment for one environment can't delete another environment's role. The role for pull
requests may read the templates of the shop's stacks.
"""

import re
from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

from settings import DIFF_ROLE_NAME, PREFIX, Settings
from stacks.acknowledgments import acknowledge

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
QUALIFIER = cdk.DefaultStackSynthesizer.DEFAULT_QUALIFIER
DEPLOY = ("deploy", "file-publishing", "lookup")
"""The CDK's bootstrap roles that a deployment assumes. There are no images to publish."""
DIFF = ("cloudformation:DescribeStacks", "cloudformation:GetTemplate")
"""What `cdk diff --method=template` requests with the job's own role, as it can't assume another."""
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+|[\w.-]+@\d+/[\w.-]+@\d+")
PROVIDER_ARN = re.compile(rf"arn:aws[\w-]*:iam::\d{{12}}:oidc-provider/{re.escape(ISSUER)}")


class GitHubStack(cdk.Stack):
    """GitHub as an identity provider, and the role for pull requests: one of each per account."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        repository: str,
        provider_arn: str | None = None,
        env: cdk.Environment,
    ) -> None:
        """Create the stack. Raises ValueError.

        repository: as GitHub spells it in the subject of its tokens, `OWNER/NAME` or
        `OWNER@ID/NAME@ID`.
        provider_arn: the identity provider for GitHub, if the account has it already; there can be
        only one.
        """
        if not REPOSITORY.fullmatch(repository):
            raise ValueError(
                f"github_repository {repository!r} is neither OWNER/NAME nor OWNER@ID/NAME@ID"
            )
        if provider_arn and not PROVIDER_ARN.fullmatch(provider_arn):
            raise ValueError(
                f"github_oidc_provider_arn {provider_arn!r} is not the ARN of GitHub's identity "
                f"provider, which ends in oidc-provider/{ISSUER}"
            )
        super().__init__(
            scope, id, env=env, description="Donut shop: GitHub's access to this account"
        )
        self.repository = repository
        self.provider_arn = provider_arn or self.format_arn(
            service="iam", region="", resource="oidc-provider", resource_name=ISSUER
        )
        role = GitHubRole(
            self,
            "Diff",
            name=DIFF_ROLE_NAME,
            provider_arn=self.provider_arn,
            subject=f"repo:{repository}:pull_request",
            session=cdk.Duration.hours(1),
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=list(DIFF),
                resources=[
                    self.format_arn(
                        service="cloudformation", resource="stack", resource_name=f"{PREFIX}-*/*"
                    )
                ],
            )
        )
        acknowledge(
            role,
            f"IAM5[Resource::arn:aws:cloudformation:{self.region}:<AWS::AccountId>:stack/{PREFIX}-*/*]",
            "the shop's stacks, whose ids AWS creates",
        )
        if not provider_arn:
            provider = iam.OidcProviderNative(
                self,
                "GitHub",
                url=f"https://{ISSUER}",
                client_ids=[AUDIENCE],
                # The provider stays when the stack is deleted, or is given the provider's ARN and
                # no longer declares it, because other projects in the account may rely on it.
                removal_policy=cdk.RemovalPolicy.RETAIN,
            )
            role.node.add_dependency(provider)


class DeploymentRoleStack(cdk.Stack):
    """The role that GitHub's jobs assume to deploy one environment."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        github: GitHubStack,
        env: cdk.Environment,
    ) -> None:
        environment = settings.name
        super().__init__(
            scope,
            id,
            env=env,
            description=f"Donut shop: the role with which GitHub deploys {environment}",
        )
        self.add_dependency(github)
        role = GitHubRole(
            self,
            "Deploy",
            name=settings.deploy_role_name,
            provider_arn=github.provider_arn,
            subject=f"repo:{github.repository}:environment:{environment}",
            session=cdk.Duration.hours(2),
        )
        role.allow_assuming(DEPLOY)
        self._allow_smoke_test(role, settings)

    def _allow_smoke_test(self, role: iam.Role, settings: Settings) -> None:
        """Allow the requests that operations/smoke.py sends to AWS.

        Where the smoke test places an order, it asks how many messages wait if the order does not
        arrive. Where it does not, it asks whether the dead-letter queue is empty and the relay has
        published everything.
        """
        queues = ["stock_queue", "stock_dlq"] if settings.smoke_test_orders else ["stock_dlq"]
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["sqs:GetQueueUrl", "sqs:GetQueueAttributes"],
                resources=[
                    self.format_arn(service="sqs", resource=settings.queue_name(queue))
                    for queue in queues
                ],
            )
        )
        if not settings.smoke_test_orders:
            role.add_to_policy(
                iam.PolicyStatement(actions=["cloudwatch:GetMetricStatistics"], resources=["*"])
            )
            acknowledge(
                role, "IAM5[Resource::*]", "cloudwatch:GetMetricStatistics takes no resource"
            )


class GitHubRole(iam.Role):
    """A role that trusts exactly one subject of GitHub's tokens."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        provider_arn: str,
        subject: str,
        session: cdk.Duration,
    ) -> None:
        """Create the role. session: how long a job may keep it, at most."""
        super().__init__(
            scope,
            id,
            role_name=name,
            assumed_by=iam.WebIdentityPrincipal(
                provider_arn,
                conditions={"StringEquals": {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": subject}},
            ),
            max_session_duration=session,
        )
        cdk.CfnOutput(cdk.Stack.of(self), f"{id}RoleArn", value=self.role_arn)

    def allow_assuming(self, kinds: Sequence[str]) -> None:
        """Let this role assume the CDK's bootstrap roles of these kinds."""
        stack = cdk.Stack.of(self)
        self.add_to_policy(
            iam.PolicyStatement(
                actions=["sts:AssumeRole"],
                resources=[
                    stack.format_arn(
                        service="iam",
                        region="",
                        resource="role",
                        resource_name=f"cdk-{QUALIFIER}-{kind}-role-{stack.account}-{stack.region}",
                    )
                    for kind in kinds
                ],
            )
        )
