"""Stateful: the network, the database, and who may reach it."""

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_rds as rds
from aws_cdk import aws_secretsmanager as secretsmanager
from constructs import Construct

from stacks.settings import DATABASE_PARAMETERS, Settings

DATABASE_NAME = "shop"
DATABASE_PORT = 13306
ENGINE = rds.DatabaseInstanceEngine.maria_db(version=rds.MariaDbEngineVersion.of("10.11.19", "10.11"))


class DataStack(cdk.Stack):
    """app_secret: the functions' password where they log in with one; None: IAM authentication."""

    def __init__(self, scope: Construct, id: str, *, settings: Settings, env: cdk.Environment) -> None:
        super().__init__(scope, id, env=env, description="Donut shop: network and database")
        self.vpc = self._vpc(settings)
        self.client_security_group = ec2.SecurityGroup(
            self,
            "Client",
            vpc=self.vpc,
            description="Functions that use the database and the interface endpoints",
            allow_all_outbound=False,
        )
        self._endpoints(settings)
        self.database = self._database(settings)
        self.app_secret = self._app_secret() if settings.database.login == "secret" else None

    def _vpc(self, settings: Settings) -> ec2.Vpc:
        return ec2.Vpc(
            self,
            "Vpc",
            availability_zones=list(settings.availability_zones),
            nat_gateways=0,
            restrict_default_security_group=False,
            subnet_configuration=[
                ec2.SubnetConfiguration(name="isolated", subnet_type=ec2.SubnetType.PRIVATE_ISOLATED, cidr_mask=24)
            ],
        )

    def _endpoints(self, settings: Settings) -> None:
        """The functions' only way out of the isolated subnets."""
        security_group = ec2.SecurityGroup(
            self, "Endpoint", vpc=self.vpc, description="Interface endpoints", allow_all_outbound=False
        )
        self.client_security_group.connections.allow_to(security_group, ec2.Port.tcp(443))
        for name, service in (
            ("Sns", ec2.InterfaceVpcEndpointAwsService.SNS),
            ("SecretsManager", ec2.InterfaceVpcEndpointAwsService.SECRETS_MANAGER),
        ):
            self.vpc.add_interface_endpoint(
                name,
                service=service,
                open=False,
                security_groups=[security_group],
                subnets=ec2.SubnetSelection(
                    subnet_type=ec2.SubnetType.PRIVATE_ISOLATED,
                    availability_zones=list(settings.availability_zones[: settings.endpoint_zones]),
                ),
            )

    def _database(self, settings: Settings) -> rds.DatabaseInstance:
        managed = settings.database
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
            parameter_group=rds.ParameterGroup(self, "Parameters", engine=ENGINE, parameters=dict(DATABASE_PARAMETERS)),
            allocated_storage=managed.storage_gib,
            storage_type=rds.StorageType.GP3,
            storage_encrypted=True,
            multi_az=managed.multi_az,
            backup_retention=cdk.Duration.days(managed.backup_days),
            deletion_protection=managed.deletion_protection,
            auto_minor_version_upgrade=False,
            removal_policy=cdk.RemovalPolicy.SNAPSHOT if settings.retain_data else cdk.RemovalPolicy.DESTROY,
        )
        database.connections.allow_default_port_from(self.client_security_group)
        return database

    def _app_secret(self) -> secretsmanager.Secret:
        return secretsmanager.Secret(
            self,
            "AppSecret",
            generate_secret_string=secretsmanager.SecretStringGenerator(
                secret_string_template='{"username": "app"}',
                generate_string_key="password",
                exclude_punctuation=True,
                password_length=32,
            ),
        )
