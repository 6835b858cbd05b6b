"""The stateful part of the shop: the network, the database, and who may log in to it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from constructs import Construct

from settings import (
    DATABASE_LOGS,
    DATABASE_PARAMETERS,
    DATABASE_USERS,
    DATABASE_USERS_FILE,
    PROJECT,
    ExistingDatabase,
    ManagedDatabase,
    Settings,
    pascal_case,
)
from stacks.acknowledgments import acknowledge
from stacks.function import Function, Network
from stacks.log_group import LogGroup

DATABASE_NAME = "shop"
DATABASE_PORT = 13306
ENGINE = rds.DatabaseInstanceEngine.maria_db(
    version=rds.MariaDbEngineVersion.of("10.11.19", "10.11")
)
ISOLATED = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED)
WITH_EGRESS = ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS)


@dataclass(frozen=True, kw_only=True)
class Instance:
    """The database instance that the data stack created, and its settings."""

    construct: rds.DatabaseInstance
    settings: ManagedDatabase


@dataclass(frozen=True, kw_only=True)
class DatabaseAccess:
    """How functions reach the database and log in to it."""

    host: str
    port: str
    network: Network
    master_secret: secretsmanager.ISecret
    """The secret that the migration logs in with."""
    instance: Instance | None
    """None if the database existed already; then its owner monitors it."""
    login_secrets: Mapping[str, secretsmanager.ISecret] = field(default_factory=dict)
    """Function → secret with its database password; empty: functions log in with IAM tokens."""

    def allow_login(self, function: Function) -> None:
        """Let the function log in to the database as its own user, and as no other."""
        if self.login_secrets:
            self.login_secrets[function.folder].grant_read(function)
        else:
            assert self.instance, "IAM authentication is for a managed database"
            self.instance.construct.grant_connect(function, _user_of(function.folder))

    def login_variables(self, folder: str) -> dict[str, str]:
        """Return the variables that tell a function how to log in. Raises ValueError."""
        user = _user_of(folder)
        if self.login_secrets:
            return {"DATABASE_SECRET_ARN": self.login_secrets[folder].secret_arn}
        return {"DATABASE_USER": user}


def _user_of(folder: str) -> str:
    """Return the function's database user. Raises ValueError if it has none."""
    if folder not in DATABASE_USERS:
        users_file = DATABASE_USERS_FILE.relative_to(PROJECT)
        raise ValueError(f"the function {folder} has no database user: add it to {users_file}")
    return DATABASE_USERS[folder]


class DataStack(cdk.Stack):
    """The network and the database, or what the shop adds to a database that exists already."""

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        topic: sns.ITopic,
        env: cdk.Environment,
    ) -> None:
        """Create the stack.

        topic: the topic, and the only one, to which the interface endpoint lets functions publish.
        """
        super().__init__(
            scope,
            id,
            env=env,
            description="Donut shop: network and database",
            termination_protection=settings.termination_protection,
        )
        self._settings = settings
        self.database = (
            self._create_database(settings.database, topic)
            if isinstance(settings.database, ManagedDatabase)
            else self._use_database(settings.database)
        )

    def _create_database(self, managed: ManagedDatabase, topic: sns.ITopic) -> DatabaseAccess:
        """Create a database in a network of its own."""
        network = self._create_network()
        instance = self._create_instance(managed, network)
        assert instance.secret, "RDS manages the master password"
        access = DatabaseAccess(
            host=instance.instance_endpoint.hostname,
            port=cdk.Token.as_string(instance.instance_endpoint.port),
            network=network,
            master_secret=instance.secret,
            instance=Instance(construct=instance, settings=managed),
            login_secrets=self._create_login_secrets() if managed.login == "secret" else {},
        )
        if self._settings.endpoint_zones:
            self._add_endpoints(access, topic)
        return access

    def _use_database(self, existing: ExistingDatabase) -> DatabaseAccess:
        """Use a database in its owner's network, which must have routes to SNS and Secrets Manager."""
        vpc = ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id=existing.vpc_id,
            availability_zones=list(self._settings.availability_zones),
            isolated_subnet_ids=list(existing.subnet_ids),
        )
        cdk.Validations.of(vpc).acknowledge(
            cdk.Acknowledgment(
                id="Annotation::@aws-cdk/aws-ec2:noSubnetRouteTableId",
                reason="this application adds no route to the subnets",
            )
        )
        security_group = ec2.SecurityGroup.from_security_group_id(
            self, "Client", existing.security_group_id, mutable=False
        )
        return DatabaseAccess(
            host=existing.host,
            port=str(existing.port),
            network=Network(vpc=vpc, subnets=ISOLATED, security_group=security_group),
            master_secret=secretsmanager.Secret.from_secret_complete_arn(
                self, "MasterSecret", existing.secret_arn
            ),
            instance=None,
            login_secrets=self._create_login_secrets(),
        )

    def _create_network(self) -> Network:
        """Create the VPC and the security group of the functions that use the database.

        The database's subnets are isolated. The functions run there too, or, without interface
        endpoints, in subnets with egress by IPv6.
        """
        has_ipv6 = self._settings.endpoint_zones == 0
        isolated = ec2.SubnetConfiguration(
            name="isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24
        )
        egress = ec2.SubnetConfiguration(
            name="egress", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=24
        )
        vpc = ec2.Vpc(
            self,
            "Vpc",
            availability_zones=list(self._settings.availability_zones),
            ip_protocol=ec2.IpProtocol.DUAL_STACK if has_ipv6 else ec2.IpProtocol.IPV4_ONLY,
            nat_gateways=0,
            create_internet_gateway=False,
            restrict_default_security_group=False,
            subnet_configuration=[isolated, egress] if has_ipv6 else [isolated],
        )
        self._log_rejected_traffic(vpc)
        security_group = ec2.SecurityGroup(
            self,
            "Client",
            vpc=vpc,
            description="Functions that use the database, SNS and Secrets Manager",
            allow_all_outbound=False,
        )
        if has_ipv6:
            security_group.add_egress_rule(ec2.Peer.any_ipv6(), ec2.Port.tcp(443))
        return Network(
            vpc=vpc,
            subnets=WITH_EGRESS if has_ipv6 else ISOLATED,
            security_group=security_group,
            has_ipv6=has_ipv6,
        )

    def _log_rejected_traffic(self, vpc: ec2.Vpc) -> None:
        log_group = logs.LogGroup(
            self,
            "RejectedLogs",
            retention=logs.RetentionDays.ONE_WEEK,
            removal_policy=cdk.RemovalPolicy.DESTROY,
        )
        vpc.add_flow_log(
            "Rejected",
            traffic_type=ec2.FlowLogTrafficType.REJECT,
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(log_group),
        )

    def _add_endpoints(self, access: DatabaseAccess, topic: sns.ITopic) -> None:
        """Let functions in the isolated subnets reach one topic, their secrets, and nothing else."""
        network = access.network
        security_group = ec2.SecurityGroup(
            self,
            "Endpoint",
            vpc=network.vpc,
            description="Interface endpoints",
            allow_all_outbound=False,
        )
        network.security_group.connections.allow_to(security_group, ec2.Port.tcp(443))
        secrets = [access.master_secret, *access.login_secrets.values()]
        services = ec2.InterfaceVpcEndpointAwsService
        for id, service, action, resources in (
            ("Sns", services.SNS, "sns:Publish", [topic.topic_arn]),
            (
                "SecretsManager",
                services.SECRETS_MANAGER,
                "secretsmanager:GetSecretValue",
                [secret.secret_arn for secret in secrets],
            ),
        ):
            zones = self._settings.availability_zones[: self._settings.endpoint_zones]
            endpoint = network.vpc.add_interface_endpoint(
                id,
                service=service,
                open=False,
                security_groups=[security_group],
                subnets=ec2.SubnetSelection(
                    subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, availability_zones=list(zones)
                ),
            )
            endpoint.add_to_policy(
                iam.PolicyStatement(
                    principals=[iam.AnyPrincipal()], actions=[action], resources=resources
                )
            )

    def _create_instance(self, managed: ManagedDatabase, network: Network) -> rds.DatabaseInstance:
        name = self._settings.database_instance
        database = rds.DatabaseInstance(
            self,
            "Database",
            instance_identifier=name,
            engine=ENGINE,
            instance_type=ec2.InstanceType(managed.instance_class),
            vpc=network.vpc,
            vpc_subnets=ISOLATED,
            publicly_accessible=False,
            port=DATABASE_PORT,
            database_name=DATABASE_NAME,
            credentials=rds.Credentials.from_username("admin"),
            manage_master_user_password=True,
            iam_authentication=managed.login == "iam",
            parameter_group=rds.ParameterGroup(
                self, "Parameters", engine=ENGINE, parameters=dict(DATABASE_PARAMETERS)
            ),
            cloudwatch_logs_exports=list(DATABASE_LOGS) if name else None,
            allocated_storage=managed.storage_gib,
            max_allocated_storage=managed.max_storage_gib,
            storage_type=rds.StorageType.GP3,
            storage_encrypted=True,
            multi_az=managed.multi_az,
            backup_retention=cdk.Duration.days(managed.backup_days),
            deletion_protection=managed.deletion_protection,
            auto_minor_version_upgrade=False,
            removal_policy=cdk.RemovalPolicy.SNAPSHOT
            if self._settings.retain_data
            else cdk.RemovalPolicy.DESTROY,
        )
        if name:
            self._add_log_groups(database)
        database.connections.allow_default_port_from(network.security_group)
        if managed.snapshot:
            self._restore(database, managed.snapshot)
        if not managed.multi_az:
            acknowledge(
                database, "RDS3", "one zone: a second would double the cost; backups are kept"
            )
        if not managed.deletion_protection:
            acknowledge(
                database,
                "RDS10",
                "outside production, an environment is created and deleted freely",
            )
        return database

    def _add_log_groups(self, database: rds.DatabaseInstance) -> None:
        """Create the groups before the instance, which would create them without a retention."""
        for log in DATABASE_LOGS:
            group = LogGroup(
                self,
                f"DatabaseLogs{pascal_case(log)}",
                name=self._settings.database_log_group(log),
                retention_days=self._settings.log_retention_days,
            )
            database.node.add_dependency(group)

    def _restore(self, database: rds.DatabaseInstance, snapshot: str) -> None:
        """Create the instance from a snapshot."""
        instance = database.node.default_child
        assert isinstance(instance, rds.CfnDBInstance)
        instance.db_snapshot_identifier = snapshot
        # RDS takes these from the snapshot, and rejects a request that gives them as well.
        for inherited in ("DBName", "MasterUsername", "StorageEncrypted"):
            instance.add_property_deletion_override(inherited)

    def _create_login_secrets(self) -> dict[str, secretsmanager.ISecret]:
        """Create one secret per function.

        A function that logs in with a password does so as another user than with IAM tokens: the
        name of that user ends in `_password`.
        """
        return {
            function: self._create_login_secret(
                f"{pascal_case(function)}Secret", user=f"{user}_password"
            )
            for function, user in DATABASE_USERS.items()
        }

    def _create_login_secret(self, id: str, *, user: str) -> secretsmanager.Secret:
        secret = secretsmanager.Secret(
            self,
            id,
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template=json.dumps({"username": user}),
                generate_string_key="password",
                exclude_punctuation=True,
                password_length=32,
            ),
        )
        acknowledge(
            secret, "SMG4", "the migration renews the password in the database whenever it runs"
        )
        return secret
