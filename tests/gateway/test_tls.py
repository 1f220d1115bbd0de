"""Providers are reached over TLS, as all real ones are: who they are is proven, or nothing is said to them."""

import datetime as dt
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.gateway.conftest import REAL, opened
from tests.gateway.upstream import Reply, Upstream, event, upstream


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for "localhost" that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    shown, kept = folder / "certificate.pem", folder / "key.pem"
    shown.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    kept.write_bytes(key.private_bytes(serialization.Encoding.PEM, *secret))
    return shown, kept


@pytest.fixture
def shown(tmp_path: Path) -> tuple[Path, Path]:
    return certificate(tmp_path)


@pytest.fixture
def provider(shown: tuple[Path, Path]) -> Iterator[Upstream]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*shown)
    with upstream(context) as made:
        yield made


STREAM = (
    event({"choices": [{"delta": {"content": "hello"}}]}),
    event({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}),
    b"data: [DONE]\n\n",
)


def test_a_streamed_call_over_tls_is_counted_and_carries_the_real_key(
    tmp_path: Path, provider: Upstream, shown: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(shown[0]))
    headers = (("content-type", "text/event-stream"),)
    provider.script = lambda asked: Reply(headers=headers, pieces=STREAM, chunked=True)
    said = {"model": "gpt-5", "stream": True, "stream_options": {"include_usage": True}, "messages": []}
    with opened(tmp_path / "state", provider) as stage:
        for _ in range(2):
            answer = stage.client().call("/openai/v1/chat/completions", said)
            assert (answer.status, answer.body) == (200, b"".join(STREAM))
        assert stage.spent()[:3] == (2, 14, 6)
    assert [asked.headers["authorization"] for asked in provider.asked] == [f"Bearer {REAL}"] * 2


def test_whoever_cannot_prove_that_they_are_the_provider_is_told_nothing(tmp_path: Path, provider: Upstream) -> None:
    with opened(tmp_path / "state", provider) as stage:
        answer = stage.client().call("/openai/v1/chat/completions", {"model": "gpt-5", "messages": []})
    assert answer.status == 502
    assert provider.asked == []
