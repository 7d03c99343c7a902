import datetime as dt
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bench_support import bench, faulty
from tornado_sse.cli.bench import command, publisher
from tornado_sse.cli.bench.sockets import Endpoint, Loop, resolve


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "both.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def context(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's, and localhost means IPv4."""
    monkeypatch.setattr(command, "resolve", lambda _, port, tls: _named(resolve("127.0.0.1", port, tls=tls)))
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate)
    return made


def _named(endpoint: Endpoint) -> Endpoint:
    return Endpoint(endpoint.family, endpoint.address, "localhost")


def test_speaks_tls(context: ssl.SSLContext, certificate: Path) -> None:
    with faulty(context) as server:
        result = bench(
            server.url, "--streams", "3", "--messages", "4", "--size", "40000", SSL_CERT_FILE=str(certificate)
        )
    assert result.exit_code == 0, result.output
    assert "deliveries    12 of 12 " in result.stdout


def test_a_certificate_that_is_not_trusted_is_told(context: ssl.SSLContext) -> None:
    with faulty(context) as server:
        result = bench(server.url, "--streams", "1")
    assert result.exit_code == 1
    assert "certificate verify failed" in result.stderr


def test_a_publisher_verifies_the_certificate_too(context: ssl.SSLContext) -> None:
    with faulty(context) as server:
        endpoint = _named(resolve("127.0.0.1", int(server.url.rpartition(":")[2]), tls=True))
        with pytest.raises(publisher.Stopped, match="certificate verify failed"):
            publisher.Publisher(Loop(), endpoint).send(b"x")
