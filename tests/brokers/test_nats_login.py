import ssl
import subprocess
from pathlib import Path

import pytest

from tornado_sse.brokers.nats.login import servers
from tornado_sse.config import Settings


def test_several_servers_and_no_way_in_but_the_name() -> None:
    found = servers(Settings(broker="nats://a:1, tls://b"))
    assert found.urls == ("nats://a:1", "tls://b")
    assert found.options == {"name": "tornado-sse"}


def test_every_way_in_is_handed_on() -> None:
    found = servers(
        Settings(
            broker="nats://a",
            broker_user="u",
            broker_password="p",
            broker_token="t",
            broker_creds="/creds",
            broker_nkey="/nkey",
        )
    )
    wanted = {"user": "u", "password": "p", "token": "t", "user_credentials": "/creds", "nkeys_seed": "/nkey"}
    assert found.options == {"name": "tornado-sse"} | wanted


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    both = tmp_path / "both.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=a -days 1"
    subprocess.run([*command.split(), "-keyout", tmp_path / "key", "-out", tmp_path / "cert"], check=True)
    both.write_text((tmp_path / "key").read_text() + (tmp_path / "cert").read_text())
    return both


def test_a_certificate_authority_and_a_certificate_of_our_own(certificate: Path) -> None:
    found = servers(Settings(broker="tls://a", broker_ca=certificate, broker_cert=certificate))
    context = found.options["tls"]
    assert isinstance(context, ssl.SSLContext)
    assert len(context.get_ca_certs()) == 1
    only_ours = servers(Settings(broker="tls://a", broker_cert=certificate)).options["tls"]
    assert only_ours.verify_mode is ssl.CERT_REQUIRED
