"""The defaults of every Lambda function, and the layer that all of them import from."""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import aws_cdk as cdk
import jsii
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from settings import LAMBDAS, NOT_SOURCES, Settings, pascal_case
from stacks.acknowledgments import acknowledge
from stacks.log_group import LogGroup

RUNTIME = lambda_.Runtime.PYTHON_3_14
WHEELS = LAMBDAS.parent / ".venv/wheels"
WHEEL_OPTIONS = [
    "--require-hashes",
    "--only-binary=:all:",
    "--platform=any",
    "--implementation=py",
    f"--python-version={RUNTIME.name.removeprefix('python')}",
    "--no-deps",
]
"""The options of pip with which `make install` downloads the layer's packages.

Only pure Python wheels are accepted, so the layer is the same on every processor.
"""
WHEELS_MISSING = (
    "the functions' packages are missing or outdated in .venv/wheels: run `make install`"
)
DEFAULT_MEMORY_MIB = 256
MEMORY_MIB: Mapping[str, int] = {"sales": 1024, "relay": 1024, "migrate": 512}
"""Function → memory, where it is not DEFAULT_MEMORY_MIB.

The share of a processor grows with the memory, and the first use of boto3 is bound by the
processor: a cold function published after 2.5 s with 256 MiB, and after 0.6 s with 1,024 MiB.
"""
VPC_POLICY = "service-role/AWSLambdaVPCAccessExecutionRole"


@jsii.implements(cdk.ILocalBundling)
class PipInstall:
    """Fills the layer with the packages in lambdas/requirements.txt and the certificates.

    It installs the wheels that `make install` has downloaded, without Docker or a network.
    """

    def try_bundle(
        self, output_dir: str, *, image: cdk.DockerImage | None = None, **_: object
    ) -> bool:
        """Fill the layer's directory. Raises ValueError."""
        options = [
            *WHEEL_OPTIONS,
            "--isolated",  # without the caller's own settings, which may add an index
            "--no-index",
            f"--find-links={WHEELS}",
            "--no-compile",
            "--quiet",
            "--disable-pip-version-check",
            f"--target={output_dir}/python",
            f"--requirement={LAMBDAS / 'requirements.txt'}",
        ]
        pip = [sys.executable, "-m", "pip", "install"]
        if subprocess.run([*pip, *options], check=False).returncode:
            raise ValueError(WHEELS_MISSING)
        for certificates in LAMBDAS.glob("*.pem"):
            shutil.copy(certificates, output_dir)
        return True


class Dependencies(lambda_.LayerVersion):
    """What the functions share: packages, and the certificates of the database's authorities.

    The packages are those that they import, except boto3, which Lambda provides.
    """

    def __init__(self, scope: Construct, id: str) -> None:
        """Create the layer. Raises ValueError if the packages' wheels are missing."""
        code = lambda_.Code.from_asset(
            str(LAMBDAS),
            exclude=["*", "!requirements.txt", "!*.pem"],
            asset_hash_type=cdk.AssetHashType.SOURCE,
            bundling=cdk.BundlingOptions(image=RUNTIME.bundling_image, local=PipInstall()),
        )
        try:
            super().__init__(
                scope,
                id,
                description="lambdas/requirements.txt",
                compatible_runtimes=[RUNTIME],
                code=code,
            )
        except RuntimeError as error:  # jsii keeps an exception's text, not its type
            if WHEELS_MISSING not in str(error):
                raise
            raise ValueError(WHEELS_MISSING) from None


@dataclass(frozen=True, kw_only=True)
class Network:
    """Where the functions that use the database run."""

    vpc: ec2.IVpc
    subnets: ec2.SubnetSelection
    security_group: ec2.ISecurityGroup
    has_ipv6: bool = False


class Function(lambda_.Function):
    """A function with a role and a log group of its own."""

    def __init__(
        self,
        scope: Construct,
        folder: str,
        *,
        settings: Settings,
        layer: lambda_.ILayerVersion,
        variables: Mapping[str, str],
        timeout: int,
        network: Network | None = None,
    ) -> None:
        """Create the function whose code is lambdas/<folder>/handler.py.

        The folder also gives the construct its id; see `pascal_case`.

        layer: what the code imports.
        timeout: in seconds.
        network: None for a function that runs outside the VPC.
        """
        id = pascal_case(folder)
        log_group = LogGroup(
            scope,
            f"{id}Logs",
            name=settings.log_group(folder),
            retention_days=settings.log_retention_days,
        )
        role = iam.Role(scope, f"{id}Role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        if network:
            _allow_network_interfaces(role)
        super().__init__(
            scope,
            id,
            function_name=settings.function_name(folder),
            runtime=RUNTIME,
            architecture=lambda_.Architecture.ARM_64,
            handler=f"{folder}.handler.handler",
            code=lambda_.Code.from_asset(
                str(LAMBDAS),
                exclude=["/*", f"!/{folder}", "!/common", *NOT_SOURCES],
                ignore_mode=cdk.IgnoreMode.GIT,
            ),
            layers=[layer],
            environment=dict(variables),
            timeout=cdk.Duration.seconds(timeout),
            memory_size=MEMORY_MIB.get(folder, DEFAULT_MEMORY_MIB),
            reserved_concurrent_executions=settings.reserved_concurrency.get(folder),
            role=role,
            log_group=log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            application_log_level_v2=lambda_.ApplicationLogLevel.INFO,
            system_log_level_v2=lambda_.SystemLogLevel.INFO,
            vpc=network.vpc if network else None,
            vpc_subnets=network.subnets if network else None,
            security_groups=[network.security_group] if network else None,
            ipv6_allowed_for_dual_stack=True if network and network.has_ipv6 else None,
        )
        self.folder = folder
        log_group.grant_write(role)


def _allow_network_interfaces(role: iam.Role) -> None:
    """Let a function run in a VPC. The CDK does so only for roles that it creates itself."""
    role.add_managed_policy(iam.ManagedPolicy.from_aws_managed_policy_name(VPC_POLICY))
    acknowledge(
        role,
        f"IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{VPC_POLICY}]",
        "AWS's own policy for functions in a VPC: network interfaces take no narrower resource",
    )
