"""Which certificates of a database the functions accept.

The tests do TLS handshakes in memory, with certificates that they sign themselves.
"""

import dataclasses
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from common.sockets import tls_context

PROJECT = Path(__file__).parents[2]
HOST = "database.test"
SHIPPED = x509.load_pem_x509_certificates(
    (PROJECT / "lambdas/rds-ca-ap-northeast-2.pem").read_bytes()
)

Extensions = Mapping[x509.ExtensionType, bool]
"""The extensions of a certificate, and whether each is critical."""


@dataclasses.dataclass(frozen=True)
class Authority:
    """A certificate that signs others. issuer: None if it is signed by itself."""

    name: str
    extensions: Extensions
    issuer: "Authority | None" = None
    key: ec.EllipticCurvePrivateKey = dataclasses.field(
        default_factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def pem(self) -> bytes:
        """Return the authority's own certificate."""
        return sign(self.issuer or self, self.name, self.key, self.extensions)


def sign(
    authority: Authority, name: str, key: ec.EllipticCurvePrivateKey, extensions: Extensions
) -> bytes:
    """Return a certificate that is valid for a minute, as PEM."""
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(f"CN={name}"))
        .issuer_name(x509.Name.from_rfc4514_string(f"CN={authority.name}"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(minutes=1))
    )
    for extension, critical in extensions.items():
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(authority.key, hashes.SHA256()).public_bytes(Encoding.PEM)


MAY_SIGN = SHIPPED[0].extensions.get_extension_for_class(x509.KeyUsage).value
IDENTIFIER = x509.SubjectKeyIdentifier(b"root")
CONSTRAINTS = x509.BasicConstraints(ca=True, path_length=None)
GOOD_ROOT: Extensions = {CONSTRAINTS: True, IDENTIFIER: False, MAY_SIGN: True}
SAYS_ITS_NAME: Extensions = {x509.SubjectAlternativeName([x509.DNSName(HOST)]): False}
NAMES_ITS_ISSUER: Extensions = {x509.AuthorityKeyIdentifier(b"root", None, None): False}
GOOD_LEAF: Extensions = {**SAYS_ITS_NAME, **NAMES_ITS_ISSUER}


def handshake(
    context: ssl.SSLContext, authority: Authority, leaf: Extensions, directory: Path
) -> None:
    """Connect to a server whose certificate the authority has signed.

    Raises ssl.SSLCertVerificationError.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    chain = directory / "server.pem"
    chain.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        + sign(authority, HOST, key, leaf)
        + authority.pem()
    )
    server_context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_context.load_cert_chain(chain)
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server, server_hostname=HOST)
    server = server_context.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, server]
    while waiting:
        side = waiting.pop(0)
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            waiting.append(side)


def trusting(root: bytes, directory: Path) -> ssl.SSLContext:
    """Return the functions' TLS context for a CA file with this root."""
    file = directory / "ca.pem"
    file.write_bytes(root)
    return tls_context(str(file))


def without(extensions: Extensions, kind: type[x509.ExtensionType]) -> Extensions:
    """Return the extensions but the one of this kind."""
    return {
        extension: critical
        for extension, critical in extensions.items()
        if not isinstance(extension, kind)
    }


def test_valid_certificate_is_accepted(tmp_path: Path) -> None:
    root = Authority("root", GOOD_ROOT)
    handshake(trusting(root.pem(), tmp_path), root, GOOD_LEAF, tmp_path)


@pytest.mark.parametrize(
    ("root", "leaf", "words"),
    [
        (
            {**GOOD_ROOT, CONSTRAINTS: False},
            GOOD_LEAF,
            "Basic Constraints of CA cert not marked critical",
        ),
        (
            without(GOOD_ROOT, x509.KeyUsage),
            GOOD_LEAF,
            "CA cert does not include key usage extension",
        ),
        (
            without(GOOD_ROOT, x509.SubjectKeyIdentifier),
            GOOD_LEAF,
            "Missing Subject Key Identifier",
        ),
        (GOOD_ROOT, SAYS_ITS_NAME, "Missing Authority Key Identifier"),
    ],
    ids=[
        "constraints not critical",
        "no key usage",
        "no subject key identifier",
        "no authority key identifier",
    ],
)
def test_certificate_that_breaks_rfc_5280_is_rejected(
    root: Extensions, leaf: Extensions, words: str, tmp_path: Path
) -> None:
    """Without VERIFY_X509_STRICT, each of them is accepted."""
    authority = Authority("root", root)
    context = trusting(authority.pem(), tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match=words):
        handshake(context, authority, leaf, tmp_path)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    handshake(context, authority, leaf, tmp_path)


@pytest.mark.parametrize("shipped", SHIPPED, ids=lambda shipped: shipped.subject.rfc4514_string())
def test_root_with_the_extensions_of_a_shipped_root_is_accepted(
    shipped: x509.Certificate, tmp_path: Path
) -> None:
    """Only RDS has the shipped roots' keys, so a new root with the same extensions is tested."""
    root = Authority(
        "root", {extension.value: extension.critical for extension in shipped.extensions}
    )
    identifier = shipped.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)
    handshake(trusting(root.pem(), tmp_path), root, {**SAYS_ITS_NAME, issuer: False}, tmp_path)


def test_intermediate_is_not_trusted_in_place_of_its_root(tmp_path: Path) -> None:
    """With VERIFY_X509_PARTIAL_CHAIN it would be accepted.

    ssl.create_default_context sets that flag from Python 3.13 on.
    """
    root = Authority("elsewhere", GOOD_ROOT)
    intermediate = Authority("root", {**GOOD_ROOT, **NAMES_ITS_ISSUER}, issuer=root)
    context = trusting(intermediate.pem(), tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get issuer certificate"):
        handshake(context, intermediate, GOOD_LEAF, tmp_path)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    handshake(context, intermediate, GOOD_LEAF, tmp_path)
