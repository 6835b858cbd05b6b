"""How functions with a database reach SNS and Secrets Manager: by endpoints, or by IPv6 only."""

from collections.abc import Callable

import pytest

from settings import ENVIRONMENTS
from tests.support.assembly import Assembly, subnets_with_a_route
from tests.support.environments import MANAGED, WITH_ENDPOINTS, WITH_IPV6


@pytest.fixture(params=WITH_ENDPOINTS)
def with_endpoints(
    request: pytest.FixtureRequest, assembly_of: Callable[[str], Assembly]
) -> Assembly:
    return assembly_of(request.param)


@pytest.fixture(params=WITH_IPV6)
def with_ipv6(request: pytest.FixtureRequest, assembly_of: Callable[[str], Assembly]) -> Assembly:
    return assembly_of(request.param)


def test_customer_environments_use_endpoints() -> None:
    """Customers' data is where the settings retain it."""
    retaining = {name for name in MANAGED if ENVIRONMENTS[name].retain_data}
    assert retaining.isdisjoint(WITH_IPV6), "customers' data stays behind endpoint policies"
    assert retaining >= {"staging", "prod"}


def test_environments_for_trials_do_without_endpoints() -> None:
    """They would be the larger part of the idle cost."""
    assert {"local", "dev"} <= set(WITH_IPV6)


def test_functions_reach_aws_services_by_endpoints(with_endpoints: Assembly) -> None:
    services = set()
    for name, endpoint in with_endpoints.each("AWS::EC2::VPCEndpoint"):
        services.add(endpoint["ServiceName"].rpartition(".")[2])
        assert endpoint["PrivateDnsEnabled"], name
    assert services == {"sns", "secretsmanager"}


def test_endpoints_take_https_from_the_functions_only(with_endpoints: Assembly) -> None:
    client, _ = with_endpoints.one("AWS::EC2::SecurityGroup", "Client")
    endpoint, _ = with_endpoints.one("AWS::EC2::SecurityGroup", "Endpoint")
    _, ingress = with_endpoints.one("AWS::EC2::SecurityGroupIngress", "Endpoint")
    assert with_endpoints.origin(ingress["SourceSecurityGroupId"]) == client
    assert with_endpoints.origin(ingress["GroupId"]) == endpoint
    assert ingress["FromPort"] == 443
    assert ingress["ToPort"] == 443


def test_functions_with_endpoints_have_no_other_egress(with_endpoints: Assembly) -> None:
    assert not subnets_with_a_route(with_endpoints)
    assert not with_endpoints.resources("AWS::EC2::EgressOnlyInternetGateway")


def test_functions_without_endpoints_have_egress_by_ipv6(with_ipv6: Assembly) -> None:
    assert not with_ipv6.resources("AWS::EC2::VPCEndpoint")
    assert with_ipv6.database_functions()
    for name in with_ipv6.database_functions():
        network = with_ipv6.functions()[name]["VpcConfig"]
        assert network["Ipv6AllowedForDualStack"] is True, name
        subnets = {with_ipv6.origin(subnet) for subnet in network["SubnetIds"]}
        assert subnets == subnets_with_a_route(with_ipv6), name


def test_ipv6_routes_lead_out_and_not_in(with_ipv6: Assembly) -> None:
    gateway, _ = with_ipv6.one("AWS::EC2::EgressOnlyInternetGateway")
    for name, route in with_ipv6.each("AWS::EC2::Route"):
        assert route["DestinationIpv6CidrBlock"] == "::/0", name
        assert with_ipv6.origin(route["EgressOnlyInternetGatewayId"]) == gateway, name


def test_functions_may_open_https_and_the_database_only(with_ipv6: Assembly) -> None:
    client, properties = with_ipv6.one("AWS::EC2::SecurityGroup", "Client")
    (rule,) = properties["SecurityGroupEgress"]
    assert rule["CidrIpv6"] == "::/0"
    assert rule["FromPort"] == 443
    assert rule["ToPort"] == 443
    _, egress = with_ipv6.one("AWS::EC2::SecurityGroupEgress")
    database, _ = with_ipv6.one("AWS::EC2::SecurityGroup", "DatabaseSecurityGroup")
    assert with_ipv6.origin(egress["GroupId"]) == client
    assert with_ipv6.origin(egress["DestinationSecurityGroupId"]) == database


def test_no_security_group_lets_an_address_in(assembly: Assembly) -> None:
    for name, group in assembly.each("AWS::EC2::SecurityGroup"):
        assert "SecurityGroupIngress" not in group, name
