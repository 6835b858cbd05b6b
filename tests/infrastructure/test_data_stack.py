"""The database, its secrets, and a database that exists already."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import settings
import stacks.data_stack
from migrate.handler import password_user
from settings import (
    DATABASE_PARAMETERS,
    ENVIRONMENTS,
    ExistingDatabase,
    ManagedDatabase,
    pascal_case,
)
from tests.support.assembly import Assembly, construct, subnets_with_a_route, synth
from tests.support.environments import login


def test_database_is_private_and_encrypted(managed: Assembly) -> None:
    _, database = managed.one("AWS::RDS::DBInstance")
    assert database["PubliclyAccessible"] is False
    assert database["StorageEncrypted"] is True


def test_rds_generates_the_master_password(managed: Assembly) -> None:
    _, database = managed.one("AWS::RDS::DBInstance")
    assert database["ManageMasterUserPassword"] is True
    assert "MasterUserPassword" not in database


def test_database_subnets_have_no_egress(managed: Assembly) -> None:
    _, database = managed.one("AWS::RDS::DBInstance")
    group, properties = managed.one("AWS::RDS::DBSubnetGroup")
    assert managed.origin(database["DBSubnetGroupName"]) == group
    isolated = {managed.origin(subnet) for subnet in properties["SubnetIds"]}
    subnets = dict(managed.each("AWS::EC2::Subnet"))
    zones = {subnets[subnet]["AvailabilityZone"] for subnet in isolated}
    assert zones == set(managed.settings.availability_zones)
    assert not isolated & subnets_with_a_route(managed)


def test_nothing_in_the_network_is_public(assembly: Assembly) -> None:
    for name, subnet in assembly.each("AWS::EC2::Subnet"):
        assert not subnet["MapPublicIpOnLaunch"], name
    for kind in ("InternetGateway", "NatGateway", "EIP"):
        assert not assembly.resources(f"AWS::EC2::{kind}"), kind


def test_only_the_functions_reach_the_database(managed: Assembly) -> None:
    _, database = managed.one("AWS::RDS::DBInstance")
    (group,) = {managed.origin(group) for group in database["VPCSecurityGroups"]}
    groups = dict(managed.each("AWS::EC2::SecurityGroup"))
    assert "SecurityGroupIngress" not in groups[group]
    _, ingress = managed.one("AWS::EC2::SecurityGroupIngress", "DatabaseSecurityGroup")
    assert managed.origin(ingress["GroupId"]) == group
    client, _ = managed.one("AWS::EC2::SecurityGroup", "Client")
    assert managed.origin(ingress["SourceSecurityGroupId"]) == client
    for name, rule in managed.each("AWS::EC2::SecurityGroupIngress"):
        assert not {"CidrIp", "CidrIpv6"} & rule.keys(), name


def test_database_requires_tls_and_uses_utf8(managed: Assembly) -> None:
    group, parameters = managed.one("AWS::RDS::DBParameterGroup")
    _, database = managed.one("AWS::RDS::DBInstance")
    assert managed.origin(database["DBParameterGroupName"]) == group
    assert parameters["Parameters"] == DATABASE_PARAMETERS
    assert parameters["Parameters"]["require_secure_transport"] == "1"
    assert parameters["Parameters"]["character_set_server"] == "utf8mb4"


def test_database_version_is_pinned(managed: Assembly) -> None:
    _, database = managed.one("AWS::RDS::DBInstance")
    assert database["AutoMinorVersionUpgrade"] is False
    assert database["EngineVersion"].startswith("10.11.")


def test_backups_are_kept_as_long_as_the_settings_say(managed: Assembly) -> None:
    _, database = managed.one("AWS::RDS::DBInstance")
    settings = managed.settings.database
    assert isinstance(settings, ManagedDatabase)
    assert database["BackupRetentionPeriod"] == settings.backup_days


def test_logs_of_the_database_have_groups_before_it_writes(managed: Assembly) -> None:
    (database,) = managed.resources("AWS::RDS::DBInstance").values()
    name = database["Properties"]["DBInstanceIdentifier"]
    assert name == f"donut-shop-{managed.name}"
    assert database["Properties"]["EnableCloudwatchLogsExports"] == ["error", "slowquery"]
    groups = {
        group["LogGroupName"]: id
        for id, group in managed.each("AWS::Logs::LogGroup")
        if "LogGroupName" in group
    }
    for log in ("error", "slowquery"):
        assert groups[f"/aws/rds/instance/{name}/{log}"] in database["DependsOn"], log


def test_restored_instance_has_a_name_and_log_groups_of_its_own(tmp_path: Path) -> None:
    """CloudFormation creates it while the old one still exists."""
    dev = ENVIRONMENTS["dev"]
    assert isinstance(dev.database, ManagedDatabase)
    names = set()
    for snapshot in (None, "rds:first", "rds:second"):
        restored = replace(dev, database=replace(dev.database, snapshot=snapshot))
        assembly = synth(restored, tmp_path / str(snapshot).replace(":", "-"))
        _, database = assembly.one("AWS::RDS::DBInstance")
        names.add(database["DBInstanceIdentifier"])
        groups = {group.get("LogGroupName") for _, group in assembly.each("AWS::Logs::LogGroup")}
        assert f"/aws/rds/instance/{database['DBInstanceIdentifier']}/error" in groups, snapshot
    assert len(names) == 3


def test_instance_of_the_first_release_keeps_its_name(tmp_path: Path) -> None:
    dev = ENVIRONMENTS["dev"]
    assert isinstance(dev.database, ManagedDatabase)
    assembly = synth(replace(dev, database=replace(dev.database, named=False)), tmp_path)
    _, database = assembly.one("AWS::RDS::DBInstance")
    assert "DBInstanceIdentifier" not in database
    assert "EnableCloudwatchLogsExports" not in database
    groups = [group.get("LogGroupName", "") for _, group in assembly.each("AWS::Logs::LogGroup")]
    assert not [name for name in groups if name.startswith("/aws/rds/")]


def test_storage_grows_by_itself_up_to_the_setting(managed: Assembly) -> None:
    _, database = managed.one("AWS::RDS::DBInstance")
    settings = managed.settings.database
    assert isinstance(settings, ManagedDatabase)
    assert database["MaxAllocatedStorage"] == settings.max_storage_gib


def test_removed_database_leaves_a_snapshot_if_data_is_retained(managed: Assembly) -> None:
    (database,) = managed.resources("AWS::RDS::DBInstance").values()
    expected = "Snapshot" if managed.settings.retain_data else "Delete"
    assert database["DeletionPolicy"] == expected
    assert database["UpdateReplacePolicy"] == expected


def test_prod_database_is_protected_and_in_two_zones(
    assembly_of: Callable[[str], Assembly],
) -> None:
    _, database = assembly_of("prod").one("AWS::RDS::DBInstance")
    assert database["DeletionProtection"] is True
    assert database["MultiAZ"] is True


# --- logging in


LOGIN_USERS = {
    f"{pascal_case(function)}Secret": password_user(user)
    for function, user in settings.DATABASE_USERS.items()
}
"""Secret → the user of the database whose password it holds, as the migration calls it."""


def login_users(assembly: Assembly) -> dict[str, str]:
    """Return the user name in each secret."""
    return {
        construct(id): json.loads(secret["GenerateSecretString"]["SecretStringTemplate"])[
            "username"
        ]
        for id, secret in assembly.each("AWS::SecretsManager::Secret")
    }


def test_each_password_login_has_a_secret(assembly: Assembly) -> None:
    assert login_users(assembly) == (LOGIN_USERS if login(assembly.settings) == "secret" else {})


@pytest.mark.parametrize("environment", ["local", "dev"])
def test_function_without_a_database_user_is_named(
    environment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = {name: user for name, user in settings.DATABASE_USERS.items() if name != "restock"}
    monkeypatch.setattr(stacks.data_stack, "DATABASE_USERS", users)
    with pytest.raises(
        ValueError,
        match=r"function restock has no database user: add it to lambdas/migrate/database_users\.json",
    ):
        synth(ENVIRONMENTS[environment], tmp_path)


# --- a database that exists already


EXISTING = ExistingDatabase(
    host="database.example",
    port=3306,
    secret_arn="arn:aws:secretsmanager:ap-northeast-2:123456789012:secret:shop-AbCdEf",
    vpc_id="vpc-1",
    subnet_ids=("subnet-1", "subnet-2"),
    security_group_id="sg-1",
)


@pytest.fixture(scope="module")
def existing(tmp_path_factory: pytest.TempPathFactory) -> Assembly:
    """Return prod on a database that exists already."""
    directory = tmp_path_factory.mktemp("cdk.out-existing")
    return synth(replace(ENVIRONMENTS["prod"], database=EXISTING), directory)


@pytest.mark.parametrize(
    "kind",
    [
        "RDS::DBInstance",
        "RDS::DBParameterGroup",
        "EC2::VPC",
        "EC2::VPCEndpoint",
        "EC2::SecurityGroup",
    ],
)
def test_existing_database_is_not_created_again(kind: str, existing: Assembly) -> None:
    assert not existing.resources(f"AWS::{kind}")


def test_functions_reach_an_existing_database_from_its_network(existing: Assembly) -> None:
    assert existing.database_functions()
    for name in existing.database_functions():
        network = existing.functions()[name]["VpcConfig"]
        assert network["SubnetIds"] == ["subnet-1", "subnet-2"], name
        assert network["SecurityGroupIds"] == ["sg-1"], name
        variables = existing.variables(name)
        assert variables["DATABASE_HOST"] == "database.example", name
        assert variables["DATABASE_PORT"] == "3306", name


def test_migration_uses_the_secret_of_an_existing_database(
    existing: Assembly,
) -> None:
    assert existing.variables("migrate")["DATABASE_SECRET_ARN"] == EXISTING.secret_arn


def test_functions_log_in_to_an_existing_database_with_passwords(existing: Assembly) -> None:
    assert login_users(existing) == LOGIN_USERS


# --- restoring a snapshot


def test_restored_database_takes_from_the_snapshot_what_it_holds(tmp_path: Path) -> None:
    restored = ManagedDatabase(instance_class="t4g.micro", snapshot="last-night")
    assembly = synth(replace(ENVIRONMENTS["dev"], database=restored), tmp_path)
    _, database = assembly.one("AWS::RDS::DBInstance")
    assert database["DBSnapshotIdentifier"] == "last-night"
    assert not {"DBName", "MasterUsername", "StorageEncrypted"} & database.keys()


def test_restore_changes_every_template_that_names_the_database(
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
    for name in after.database_functions():
        assert "DATABASE_GENERATION" not in before.variables(name), name
        assert after.variables(name)["DATABASE_GENERATION"] == "last-night", name
    _, old = before.one("Custom::Trigger")
    _, new = after.one("Custom::Trigger")
    assert old["HandlerArn"] != new["HandlerArn"], "the migration would not run"
    watching = [
        alarm["AlarmDescription"]
        for id, alarm in after.each("AWS::CloudWatch::Alarm")
        if id.startswith("Database")
    ]
    assert len(watching) == 3
    for description in watching:
        assert " Restored from last-night." in description, description
