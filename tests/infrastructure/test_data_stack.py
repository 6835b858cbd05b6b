import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from settings import DATABASE_PARAMETERS, ENVIRONMENTS, ExistingDatabase, ManagedDatabase
from tests.support.assembly import Assembly, construct, subnets_with_a_route, synth


def test_the_database_is_private_and_encrypted(assembly: Assembly) -> None:
    _, database = assembly.one("AWS::RDS::DBInstance")
    assert database["PubliclyAccessible"] is False
    assert database["StorageEncrypted"] is True


def test_nobody_types_the_master_password(assembly: Assembly) -> None:
    _, database = assembly.one("AWS::RDS::DBInstance")
    assert database["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in database


def test_the_database_lives_in_subnets_without_a_way_out(assembly: Assembly) -> None:
    _, database = assembly.one("AWS::RDS::DBInstance")
    group, properties = assembly.one("AWS::RDS::DBSubnetGroup")
    assert assembly.origin(database["DBSubnetGroupName"]) == group
    subnets = assembly.resources("AWS::EC2::Subnet")
    zones = {
        subnets[assembly.origin(subnet)]["Properties"]["AvailabilityZone"]
        for subnet in properties["SubnetIds"]
    }
    assert zones == {"ap-northeast-2a", "ap-northeast-2c"}
    assert not any(subnet["Properties"]["MapPublicIpOnLaunch"] for subnet in subnets.values())
    for way_out in ("InternetGateway", "NatGateway", "EIP"):
        assert not assembly.resources(f"AWS::EC2::{way_out}")
    isolated = {assembly.origin(subnet) for subnet in properties["SubnetIds"]}
    assert not isolated & subnets_with_a_route(assembly)


def test_only_the_functions_reach_the_database(assembly: Assembly) -> None:
    _, database = assembly.one("AWS::RDS::DBInstance")
    (group,) = {assembly.origin(group) for group in database["VPCSecurityGroups"]}
    assert (
        "SecurityGroupIngress"
        not in assembly.resources("AWS::EC2::SecurityGroup")[group]["Properties"]
    )
    _, ingress = assembly.one("AWS::EC2::SecurityGroupIngress", "DatabaseSecurityGroup")
    assert assembly.origin(ingress["GroupId"]) == group
    client, _ = assembly.one("AWS::EC2::SecurityGroup", "Client")
    assert assembly.origin(ingress["SourceSecurityGroupId"]) == client
    for rule in assembly.resources("AWS::EC2::SecurityGroupIngress").values():
        assert not {"CidrIp", "CidrIpv6"} & rule["Properties"].keys()


def test_the_database_demands_tls_and_utf8(assembly: Assembly) -> None:
    group, parameters = assembly.one("AWS::RDS::DBParameterGroup")
    _, database = assembly.one("AWS::RDS::DBInstance")
    assert assembly.origin(database["DBParameterGroupName"]) == group
    assert parameters["Parameters"] == DATABASE_PARAMETERS
    assert parameters["Parameters"]["require_secure_transport"] == "1"
    assert parameters["Parameters"]["character_set_server"] == "utf8mb4"


def test_the_version_changes_only_when_we_say_so(assembly: Assembly) -> None:
    _, database = assembly.one("AWS::RDS::DBInstance")
    assert database["AutoMinorVersionUpgrade"] is False
    assert database["EngineVersion"].startswith("10.11.")


def test_backups_are_kept_as_long_as_the_settings_say(assembly: Assembly) -> None:
    _, database = assembly.one("AWS::RDS::DBInstance")
    settings = ENVIRONMENTS[assembly.name].database
    assert isinstance(settings, ManagedDatabase)
    assert database["BackupRetentionPeriod"] == settings.backup_days


def test_data_that_matters_outlives_its_stack(assembly: Assembly) -> None:
    ((_, database),) = assembly.resources("AWS::RDS::DBInstance").items()
    expected = "Snapshot" if ENVIRONMENTS[assembly.name].retain_data else "Delete"
    assert (database["DeletionPolicy"], database["UpdateReplacePolicy"]) == (expected, expected)
    if assembly.name == "prod":
        assert database["Properties"]["DeletionProtection"] is True
        assert database["Properties"]["MultiAZ"] is True


EXISTING = ExistingDatabase(
    host="database.example",
    port=3306,
    secret_arn="arn:aws:secretsmanager:ap-northeast-2:123456789012:secret:shop-AbCdEf",
    vpc_id="vpc-1",
    subnet_ids=("subnet-1", "subnet-2"),
    security_group_id="sg-1",
)


def test_an_existing_database_is_used_as_it_is(tmp_path: Path) -> None:
    assembly = synth(replace(ENVIRONMENTS["prod"], database=EXISTING), tmp_path)
    for kind in (
        "RDS::DBInstance",
        "RDS::DBParameterGroup",
        "EC2::VPC",
        "EC2::VPCEndpoint",
        "EC2::SecurityGroup",
    ):
        assert not assembly.resources(f"AWS::{kind}")
    for name in ("sales", "restock", "relay", "migrate"):
        network = assembly.functions()[name]["Properties"]["VpcConfig"]
        assert (network["SubnetIds"], network["SecurityGroupIds"]) == (
            ["subnet-1", "subnet-2"],
            ["sg-1"],
        )
        given = assembly.environment(name)
        assert (given["DATABASE_HOST"], given["DATABASE_PORT"]) == ("database.example", "3306")
    assert assembly.environment("migrate")["DATABASE_SECRET_ARN"] == EXISTING.secret_arn
    assert login_users(assembly) == LOGIN_USERS


LOGIN_USERS = {
    "SalesSecret": "shop_sales_password",
    "RestockSecret": "shop_restock_password",
    "RelaySecret": "shop_relay_password",
}
"""Secret → the user of the database whose password it holds."""


def login_users(assembly: Assembly) -> dict[str, str]:
    return {
        construct(id): json.loads(
            secret["Properties"]["GenerateSecretString"]["SecretStringTemplate"]
        )["username"]
        for id, secret in assembly.resources("AWS::SecretsManager::Secret").items()
    }


def test_each_function_has_a_secret_where_it_logs_in_with_a_password(assembly: Assembly) -> None:
    assert login_users(assembly) == (LOGIN_USERS if assembly.name == "local" else {})


def test_a_snapshot_is_restored_without_what_it_brings_along(tmp_path: Path) -> None:
    restored = ManagedDatabase(instance_class="t4g.micro", snapshot="last-night")
    _, database = synth(replace(ENVIRONMENTS["dev"], database=restored), tmp_path).one(
        "AWS::RDS::DBInstance"
    )
    assert database["DBSnapshotIdentifier"] == "last-night"
    assert not {"DBName", "MasterUsername", "StorageEncrypted"} & database.keys()


def test_restore_changes_every_template_that_refers_to_the_database(
    tmp_path: Path, assembly_of: Callable[[str], Assembly]
) -> None:
    """CloudFormation resolves Fn::GetStackOutput only when the stack that reads it is updated.

    Without a change of their own, the functions and alarms would stay with the old instance.
    """
    dev = ENVIRONMENTS["dev"]
    assert isinstance(dev.database, ManagedDatabase)
    before = assembly_of("dev")
    after = synth(replace(dev, database=replace(dev.database, snapshot="last-night")), tmp_path)
    changed = {name for name in before.templates if before.templates[name] != after.templates[name]}
    assert changed == {f"donut-shop-{stack}-dev" for stack in ("data", "service", "monitoring")}
    for name in ("sales", "restock", "relay", "migrate"):
        assert "DATABASE_GENERATION" not in before.environment(name)
        assert after.environment(name)["DATABASE_GENERATION"] == "last-night"
    (old,), (new,) = (
        assembly.resources("Custom::Trigger").values() for assembly in (before, after)
    )
    assert old["Properties"]["HandlerArn"] != new["Properties"]["HandlerArn"], (
        "the migration would not run"
    )
    alarms = after.resources("AWS::CloudWatch::Alarm").values()
    restored = [
        alarm["Properties"]["AlarmDescription"] for alarm in alarms if "last-night" in str(alarm)
    ]
    assert len(restored) == 3
    assert all(" Restored from last-night." in description for description in restored)
