"""The one place where Lambda defaults live."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import aws_cdk as cdk
import jsii
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from settings import Settings
from stacks.acknowledgments import acknowledge

LAMBDAS = Path(__file__).parent.parent / "lambdas"
DEFAULT_MEMORY_MIB = 256
RUNTIME = lambda_.Runtime.PYTHON_3_14


@jsii.implements(cdk.ILocalBundling)
class PipInstall:
    """Installs lambdas/requirements.txt without Docker: pure Python wheels, the same bytes for every processor."""

    def try_bundle(
        self, output_dir: str, *, image: cdk.DockerImage | None = None, **_: object
    ) -> bool:
        options = [
            "--require-hashes",
            "--only-binary=:all:",
            "--platform=any",
            "--implementation=py",
            "--no-deps",
        ]
        options += [
            "--no-compile",
            "--quiet",
            "--disable-pip-version-check",
            f"--target={output_dir}/python",
        ]
        options += [f"--python-version={RUNTIME.name.removeprefix('python')}"]
        requirements = f"--requirement={LAMBDAS / 'requirements.txt'}"
        subprocess.run([sys.executable, "-m", "pip", "install", *options, requirements], check=True)
        return True


class Dependencies(lambda_.LayerVersion):
    """What the functions import besides boto3, which Lambda brings."""

    def __init__(self, scope: Construct, id: str) -> None:
        super().__init__(
            scope,
            id,
            description="lambdas/requirements.txt",
            compatible_runtimes=[RUNTIME],
            code=lambda_.Code.from_asset(
                str(LAMBDAS),
                exclude=["*", "!requirements.txt"],
                asset_hash_type=cdk.AssetHashType.SOURCE,
                bundling=cdk.BundlingOptions(image=RUNTIME.bundling_image, local=PipInstall()),
            ),
        )


class Function(lambda_.Function):
    """lambdas/<name>/handler.py, with a role and a log group of its own. timeout: seconds."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        name: str,
        settings: Settings,
        environment: Mapping[str, str],
        layer: lambda_.ILayerVersion,
        timeout: int,
        log_retention: logs.RetentionDays,
        memory_mib: int = DEFAULT_MEMORY_MIB,
        reserved_concurrency: int | None = None,
        vpc: ec2.IVpc | None = None,
        subnets: ec2.SubnetType | None = None,
        security_group: ec2.ISecurityGroup | None = None,
    ) -> None:
        log_group = logs.LogGroup(
            scope,
            f"{id}Logs",
            log_group_name=settings.log_group(name),
            retention=log_retention,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        role = iam.Role(scope, f"{id}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        if vpc:  # CDK adds these permissions to roles of its own making only
            role.add_managed_policy(
                iam.ManagedPolicy.from_aws_managed_policy_name(
                    "service-role/AWSLambdaVPCAccessExecutionRole"
                )
            )
            acknowledge(
                role,
                "IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/service-role/AWSLambdaVPCAccessExecutionRole]",
                "AWS's own policy for functions in a VPC: network interfaces take no narrower resource",
            )
        super().__init__(
            scope,
            id,
            function_name=settings.function_name(name),
            runtime=RUNTIME,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"{name}.handler.handler",
            code=lambda_.Code.from_asset(
                str(LAMBDAS),
                exclude=["/*", f"!/{name}", "!/common", "__pycache__"],
                ignore_mode=cdk.IgnoreMode.GIT,
            ),
            layers=[layer],
            environment=dict(environment),
            timeout=cdk.Duration.seconds(timeout),
            memory_size=memory_mib,
            reserved_concurrent_executions=reserved_concurrency,
            role=role,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=subnets) if subnets else None,
            ipv6_allowed_for_dual_stack=True
            if subnets == ec2.SubnetType.PRIVATE_WITH_EGRESS
            else None,
            security_groups=[security_group] if security_group else None,
        )
        log_group.grant_write(role)
