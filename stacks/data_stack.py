"""Stateful: the network, the database, and who may reach it."""

import json

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from aws_cdk import aws_sns as sns
from constructs import Construct

from settings import (
    DATABASE_PARAMETERS,
    DATABASE_USERS,
    ExistingDatabase,
    ManagedDatabase,
    Settings,
)
from stacks.acknowledgments import acknowledge

DATABASE_NAME = "shop"
DATABASE_PORT = 13306
ENGINE = rds.DatabaseInstanceEngine.maria_db(
    version=rds.MariaDbEngineVersion.of("10.11.19", "10.11")
)


class DataStack(cdk.Stack):
    """login_secrets: function → secret with its database password; empty: the functions log in with IAM tokens.

    topic: the only one that the interface endpoint lets the functions publish to.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,
        *,
        settings: Settings,
        topic: sns.ITopic,
        env: cdk.Environment,
    ) -> None:
        super().__init__(
            scope,
            id,
            env=env,
            description="Donut shop: network and database",
            termination_protection=settings.termination_protection,
        )
        self._settings = settings
        self.function_subnets = ec2.SubnetType.PRIVATE_ISOLATED
        self.database: rds.DatabaseInstance | None = None
        self.login_secrets: dict[str, secretsmanager.ISecret] = {}
        if isinstance(settings.database, ManagedDatabase):
            self._create(settings.database, topic)
        else:
            self._adopt(settings.database)

    def grant_login(self, function: lambda_.Function, name: str) -> None:
        """Let the function log in to the database as its own user, and as no other. name: its key in DATABASE_USERS."""
        if self.login_secrets:
            self.login_secrets[name].grant_read(function)
        else:
            assert self.database, "IAM authentication is for a managed database"
            self.database.grant_connect(function, DATABASE_USERS[name])

    def _create(self, managed: ManagedDatabase, topic: sns.ITopic) -> None:
        if self._settings.endpoint_zones == 0:
            self.function_subnets = ec2.SubnetType.PRIVATE_WITH_EGRESS
        self.vpc: ec2.IVpc = self._vpc()
        self.client_security_group: ec2.ISecurityGroup = ec2.SecurityGroup(
            self,
            "Client",
            vpc=self.vpc,
            description="Functions that use the database, SNS and Secrets Manager",
            allow_all_outbound=False,
        )
        self.database = self._database(managed)
        self.host = self.database.instance_endpoint.hostname
        self.port = cdk.Token.as_string(self.database.instance_endpoint.port)
        assert self.database.secret, "RDS manages the master password"
        self.master_secret: secretsmanager.ISecret = self.database.secret
        if managed.login == "secret":
            self.login_secrets = self._login_secrets()
        if self._settings.endpoint_zones:
            self._endpoints(topic)
        else:
            self.client_security_group.add_egress_rule(ec2.Peer.any_ipv6(), ec2.Port.tcp(443))

    def _adopt(self, existing: ExistingDatabase) -> None:
        """Use the database in its owner's network, which also has to lead to SNS and Secrets Manager."""
        self.vpc = ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id=existing.vpc_id,
            availability_zones=list(self._settings.availability_zones),
            isolated_subnet_ids=list(existing.subnet_ids),
        )
        cdk.Validations.of(self.vpc).acknowledge(
            cdk.Acknowledgment(
                id="Annotation::@aws-cdk/aws-ec2:noSubnetRouteTableId",
                reason="nothing here adds a route to them",
            )
        )
        self.client_security_group = ec2.SecurityGroup.from_security_group_id(
            self, "Client", existing.security_group_id, mutable=False
        )
        self.host, self.port = existing.host, str(existing.port)
        self.master_secret = secretsmanager.Secret.from_secret_complete_arn(
            self, "MasterSecret", existing.secret_arn
        )
        self.login_secrets = self._login_secrets()

    def _vpc(self) -> ec2.Vpc:
        """The database's subnets are isolated. The functions live there too, unless they go out by IPv6."""
        isolated = ec2.SubnetConfiguration(
            name="isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24
        )
        egress = ec2.SubnetConfiguration(
            name="egress", subnet_type=ec2.SubnetType.PRIVATE_WITH_EGRESS, cidr_mask=24
        )
        by_ipv6 = self.function_subnets == egress.subnet_type
        vpc = ec2.Vpc(
            self,
            "Vpc",
            availability_zones=list(self._settings.availability_zones),
            ip_protocol=ec2.IpProtocol.DUAL_STACK if by_ipv6 else ec2.IpProtocol.IPV4_ONLY,
            nat_gateways=0,
            create_internet_gateway=False,
            restrict_default_security_group=False,
            subnet_configuration=[isolated, egress] if by_ipv6 else [isolated],
        )
        vpc.add_flow_log(
            "Rejected",
            traffic_type=ec2.FlowLogTrafficType.REJECT,
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(
                logs.LogGroup(
                    self,
                    "RejectedLogs",
                    retention=logs.RetentionDays.ONE_WEEK,
                    removal_policy=cdk.RemovalPolicy.DESTROY,
                )
            ),
        )
        return vpc

    def _endpoints(self, topic: sns.ITopic) -> None:
        """The functions' only way out of the isolated subnets, to one topic and to their secrets."""
        security_group = ec2.SecurityGroup(
            self,
            "Endpoint",
            vpc=self.vpc,
            description="Interface endpoints",
            allow_all_outbound=False,
        )
        self.client_security_group.connections.allow_to(security_group, ec2.Port.tcp(443))
        secrets = [
            secret.secret_arn for secret in (self.master_secret, *self.login_secrets.values())
        ]
        for id, service, action, resources in (
            ("Sns", ec2.InterfaceVpcEndpointAwsService.SNS, "sns:Publish", [topic.topic_arn]),
            (
                "SecretsManager",
                ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
                "secretsmanager:GetSecretValue",
                secrets,
            ),
        ):
            self.vpc.add_interface_endpoint(
                id,
                service=service,
                open=False,
                security_groups=[security_group],
                subnets=ec2.SubnetSelection(
                    subnet_type=ec2.SubnetType.PRIVATE_ISOLATED,
                    availability_zones=list(
                        self._settings.availability_zones[: self._settings.endpoint_zones]
                    ),
                ),
            ).add_to_policy(
                iam.PolicyStatement(
                    principals=[iam.AnyPrincipal()], actions=[action], resources=resources
                )
            )

    def _database(self, managed: ManagedDatabase) -> rds.DatabaseInstance:
        database = rds.DatabaseInstance(
            self,
            "Database",
            engine=ENGINE,
            instance_type=ec2.InstanceType(managed.instance_class),
            vpc=self.vpc,
            vpc_subnets=ec2.SubnetSelection(subnet_type=ec2.SubnetType.PRIVATE_ISOLATED),
            publicly_accessible=False,
            port=DATABASE_PORT,
            database_name=DATABASE_NAME,
            credentials=rds.Credentials.from_username("admin"),
            manage_master_user_password=True,
            iam_authentication=managed.login == "iam",
            parameter_group=rds.ParameterGroup(
                self, "Parameters", engine=ENGINE, parameters=dict(DATABASE_PARAMETERS)
            ),
            allocated_storage=managed.storage_gib,
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
        database.connections.allow_default_port_from(self.client_security_group)
        if managed.snapshot:
            instance = database.node.default_child
            assert isinstance(instance, rds.CfnDBInstance)
            instance.db_snapshot_identifier = managed.snapshot
            for inherited in (
                "DBName",
                "MasterUsername",
                "StorageEncrypted",
            ):  # refused beside a snapshot
                instance.add_property_deletion_override(inherited)
        if not managed.multi_az:
            acknowledge(
                database, "RDS3", "one zone: a second would double the cost; backups are kept"
            )
        if not managed.deletion_protection:
            acknowledge(
                database, "RDS10", "outside production, an environment is made and removed freely"
            )
        return database

    def _login_secrets(self) -> dict[str, secretsmanager.ISecret]:
        """Create one secret per function. A user that logs in with a password is not the one with IAM tokens."""
        return {
            function: self._login_secret(f"{function.capitalize()}Secret", user=f"{user}_password")
            for function, user in DATABASE_USERS.items()
        }

    def _login_secret(self, id: str, *, user: str) -> secretsmanager.Secret:
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
