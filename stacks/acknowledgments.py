"""Accept findings of cdk-nag, each with a reason."""

import aws_cdk as cdk
from constructs import Construct


def acknowledge(construct: Construct, rule: str, reason: str) -> None:
    """Accept a finding of the AwsSolutions pack, for a reason that docs/decisions.md repeats."""
    cdk.Validations.of(construct).acknowledge(
        cdk.Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
    )
