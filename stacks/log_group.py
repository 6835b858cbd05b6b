"""Log groups, which are deleted together with their stack."""

import aws_cdk as cdk
from aws_cdk import aws_logs as logs
from constructs import Construct


class LogGroup(logs.LogGroup):
    """A log group whose retention is given in days, as in the settings."""

    def __init__(self, scope: Construct, id: str, *, name: str, retention_days: int) -> None:
        super().__init__(scope, id, log_group_name=name, removal_policy=cdk.RemovalPolicy.DESTROY)
        # logs.RetentionDays has a name for each period, and no way to find it by its days.
        group = self.node.default_child
        assert isinstance(group, logs.CfnLogGroup)
        group.retention_in_days = retention_days
