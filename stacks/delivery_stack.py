"""What GitHub Actions may do in an account. Deployed by hand, once: `make deploy-delivery`."""

import re
from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_iam as iam
from constructs import Construct

ISSUER = "token.actions.githubusercontent.com"
AUDIENCE = "sts.amazonaws.com"
QUALIFIER = cdk.DefaultStackSynthesizer.DEFAULT_QUALIFIER
DEPLOY = ("deploy", "file-publishing", "lookup")
"""The roles of CDK's bootstrap that a deployment assumes. No image-publishing: nothing here is an image."""
DIFF = ("lookup",)


class DeliveryStack(cdk.Stack):
    """A role for each GitHub environment and one for pull requests; all they may do is assume CDK's own roles.

    repository: OWNER/NAME. environments: those that are deployed to this account.
    """

    def __init__(
        self, scope: Construct, id: str, *, repository: str, environments: Sequence[str], env: cdk.Environment
    ) -> None:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
            raise ValueError(f"github_repository {repository!r} is not OWNER/NAME")
        super().__init__(scope, id, env=env, description="Donut shop: GitHub's way into this account")
        self._provider = iam.OidcProviderNative(self, "GitHub", url=f"https://{ISSUER}", client_ids=[AUDIENCE])
        for name in environments:
            self._role(f"donut-shop-deploy-{name}", subject=f"repo:{repository}:environment:{name}", assumes=DEPLOY)
        self._role("donut-shop-diff", subject=f"repo:{repository}:pull_request", assumes=DIFF)

    def _role(self, name: str, *, subject: str, assumes: Sequence[str]) -> None:
        """subject: what GitHub signs about the job that asks."""
        id = "".join(word.capitalize() for word in name.removeprefix("donut-shop-").split("-"))
        role = iam.Role(
            self,
            id,
            role_name=name,
            assumed_by=iam.WebIdentityPrincipal(
                self._provider.oidc_provider_arn,
                conditions={"StringEquals": {f"{ISSUER}:aud": AUDIENCE, f"{ISSUER}:sub": subject}},
            ),
            max_session_duration=cdk.Duration.hours(1),
        )
        role.add_to_policy(
            iam.PolicyStatement(
                actions=["sts:AssumeRole"],
                resources=[
                    self.format_arn(
                        service="iam",
                        region="",
                        resource="role",
                        resource_name=f"cdk-{QUALIFIER}-{kind}-role-{self.account}-{self.region}",
                    )
                    for kind in assumes
                ],
            )
        )
        cdk.CfnOutput(self, f"{id}RoleArn", value=role.role_arn)
