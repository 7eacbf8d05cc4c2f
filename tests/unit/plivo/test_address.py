"""The rules for Plivo's base URL."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cold_transfer.plivo.address import PlivoAddress, parse_address
from cold_transfer.plivo.client import PlivoClient


@pytest.mark.parametrize(
    ("base_url", "parts"),
    [
        ("https://phlorunner.plivo.com", (True, "phlorunner.plivo.com", 443, "")),
        ("https://phlorunner.plivo.com/", (True, "phlorunner.plivo.com", 443, "")),
        ("HTTPS://Phlorunner.Plivo.com:8443/a/b/", (True, "phlorunner.plivo.com", 8443, "/a/b")),
        ("https://192.0.2.1", (True, "192.0.2.1", 443, "")),
        ("https://[2001:db8::1]:444", (True, "2001:db8::1", 444, "")),
        ("http://localhost:8080", (False, "localhost", 8080, "")),
        ("http://127.0.0.1", (False, "127.0.0.1", 80, "")),
        ("http://127.255.0.9:1/x", (False, "127.255.0.9", 1, "/x")),
        ("http://[::1]:8080", (False, "::1", 8080, "")),
    ],
)
def test_an_address_is_parsed(base_url: str, parts: tuple[bool, str, int, str]) -> None:
    assert parse_address(base_url) == PlivoAddress(*parts)


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "phlorunner.plivo.com",
        "//phlorunner.plivo.com",
        "ftp://phlorunner.plivo.com",
        "https://",
        "https:///v1",
        "https://:443",
        "https://plivo.com:0",
        "https://plivo.com:65536",
        "https://plivo.com:https",
        "https://user@plivo.com",
        "https://user:secret@plivo.com",
        "https://plivo.com?x=1",
        "https://plivo.com/?",
        "https://plivo.com#",
        "https://plivo.com/a b",
        "https://plivo.com/a//b",
        "https://plivo.com/%2e%2e",
        "https://plivo.com\\@127.0.0.1",
        " https://plivo.com",
        "https://plivo.com\n",
        "https://pli\tvo.com",
        "https://pl\u0131vo.com",
        "https://-plivo.com",
        "https://plivo..com",
        "https://" + "a" * 64 + ".com",
        "https://[::1",
        "https://[fe80::1%25eth0]",
        "http://phlorunner.plivo.com",
        "http://localhost.plivo.com",
        "http://127.0.0.1.plivo.com",
        "http://128.0.0.1",
        "http://0.0.0.0",
        "http://127.1",
        "http://2130706433",
        "http://[::ffff:127.0.0.1]",
        "http://[::]",
        "http://169.254.169.254",
        "http://host.docker.internal:8080",
    ],
)
def test_an_invalid_address_is_refused(base_url: str) -> None:
    with pytest.raises(ValueError, match="Plivo's base URL"):
        PlivoClient(base_url)


def test_a_refusal_does_not_show_the_password() -> None:
    for base_url in ("https://user:sesame@plivo.com", "https://user:sesame@pl\u2100.com"):
        with pytest.raises(ValueError, match="credentials") as refusal:
            parse_address(base_url)
        assert "sesame" not in str(refusal.value)


@pytest.mark.parametrize("host", ["host.docker.internal", "172.17.0.1"])
def test_with_an_http_aws_endpoint_its_host_and_the_container_host_count_as_local(
    host: str,
) -> None:
    base_url = f"http://{host}:8080"

    assert parse_address(base_url, "http://172.17.0.1:4566").host == host
    for endpoint in ("", "https://172.17.0.1:4566", "172.17.0.1:4566"):
        with pytest.raises(ValueError, match="must be https"):
            parse_address(base_url, endpoint)


def test_with_an_http_aws_endpoint_no_other_host_counts_as_local() -> None:
    with pytest.raises(ValueError, match="must be https"):
        parse_address("http://phlorunner.plivo.com", "http://localhost:4566")


@given(st.text(st.sampled_from("htps:/@[]?#%.:\\ 1a\n\u2100"), max_size=30) | st.text())
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for base_url in (text, "https://" + text, "http://" + text):
        try:
            address = parse_address(base_url)
        except ValueError:
            continue
        assert address.host
        assert address.tls or address.host in ("localhost", "::1") or address.host[:4] == "127."
