"""How the functions that sit beside the database reach SNS and Secrets Manager: by endpoints, or by IPv6 alone."""

import pytest

from settings import ENVIRONMENTS
from tests.support.assembly import Assembly, subnets_with_a_route

IN_VPC = ("sales", "restock", "relay", "migrate")


@pytest.fixture
def by_endpoints(assembly: Assembly) -> Assembly:
    if ENVIRONMENTS[assembly.name].endpoint_zones == 0:
        pytest.skip("goes out by IPv6")
    return assembly


@pytest.fixture
def by_ipv6(assembly: Assembly) -> Assembly:
    if ENVIRONMENTS[assembly.name].endpoint_zones:
        pytest.skip("has endpoints")
    return assembly


def subnets(assembly: Assembly, function: str) -> set[str]:
    network = assembly.functions()[function]["Properties"]["VpcConfig"]
    return {assembly.origin(subnet) for subnet in network["SubnetIds"]}


def test_the_cheap_way_out_is_not_for_customers() -> None:
    assert {name for name, settings in ENVIRONMENTS.items() if settings.endpoint_zones == 0} == {
        "local",
        "dev",
    }


def test_isolated_functions_reach_what_they_call_by_endpoints(by_endpoints: Assembly) -> None:
    endpoints = by_endpoints.resources("AWS::EC2::VPCEndpoint").values()
    services = {endpoint["Properties"]["ServiceName"].rpartition(".")[2] for endpoint in endpoints}
    assert services == {"sns", "secretsmanager"}
    assert all(endpoint["Properties"]["PrivateDnsEnabled"] for endpoint in endpoints)
    client, _ = by_endpoints.one("AWS::EC2::SecurityGroup", "Client")
    target, _ = by_endpoints.one("AWS::EC2::SecurityGroup", "Endpoint")
    _, ingress = by_endpoints.one("AWS::EC2::SecurityGroupIngress", "Endpoint")
    assert [by_endpoints.origin(ingress[end]) for end in ("SourceSecurityGroupId", "GroupId")] == [
        client,
        target,
    ]
    assert (ingress["FromPort"], ingress["ToPort"]) == (443, 443)


def test_isolated_functions_have_no_other_way_out(by_endpoints: Assembly) -> None:
    assert not subnets_with_a_route(by_endpoints)
    assert not by_endpoints.resources("AWS::EC2::EgressOnlyInternetGateway")


def test_without_endpoints_the_functions_go_out_by_ipv6(by_ipv6: Assembly) -> None:
    assert not by_ipv6.resources("AWS::EC2::VPCEndpoint")
    for function in IN_VPC:
        assert (
            by_ipv6.functions()[function]["Properties"]["VpcConfig"]["Ipv6AllowedForDualStack"]
            is True
        )
        assert subnets(by_ipv6, function) == subnets_with_a_route(by_ipv6)
    gateway, _ = by_ipv6.one("AWS::EC2::EgressOnlyInternetGateway")
    for route in by_ipv6.resources("AWS::EC2::Route").values():
        assert route["Properties"]["DestinationIpv6CidrBlock"] == "::/0"
        assert by_ipv6.origin(route["Properties"]["EgressOnlyInternetGatewayId"]) == gateway


def test_the_functions_open_https_and_the_database_only(by_ipv6: Assembly) -> None:
    client, properties = by_ipv6.one("AWS::EC2::SecurityGroup", "Client")
    assert [
        (rule["CidrIpv6"], rule["FromPort"], rule["ToPort"])
        for rule in properties["SecurityGroupEgress"]
    ] == [("::/0", 443, 443)]
    (egress,) = by_ipv6.resources("AWS::EC2::SecurityGroupEgress").values()
    database, _ = by_ipv6.one("AWS::EC2::SecurityGroup", "DatabaseSecurityGroup")
    ends = [
        by_ipv6.origin(egress["Properties"][end])
        for end in ("GroupId", "DestinationSecurityGroupId")
    ]
    assert ends == [client, database]


def test_no_address_is_let_in(assembly: Assembly) -> None:
    for group in assembly.resources("AWS::EC2::SecurityGroup").values():
        assert "SecurityGroupIngress" not in group["Properties"]
