"""Which hosts and addresses sandboxes may reach."""

import pytest

from luminaguard.gateway.hosts import allows, entries_of, may_reach, split_host


@pytest.mark.parametrize(
    ("listed", "name", "port", "is_allowed"),
    [
        ("example.org", "example.org", 443, True),
        ("example.org", "example.org", 80, True),
        ("example.org", "example.org", 22, False),
        ("example.org", "www.example.org", 443, False),
        ("example.org", "evil-example.org", 443, False),
        ("example.org:8443", "example.org", 8443, True),
        ("example.org:8443", "example.org", 443, False),
        ("*.example.org", "a.b.example.org", 443, True),
        ("*.example.org", "example.org", 443, False),
        ("*.example.org", "evilexample.org", 443, False),
        ("EXAMPLE.org.", "example.org", 443, True),
        ("pypi", "pypi.org", 443, True),
        ("pypi", "files.pythonhosted.org", 443, True),
        ("npm", "pypi.org", 443, False),
        ("10.0.0.5:9000", "10.0.0.5", 9000, True),
        ("[::1]:9000", "::1", 9000, True),
    ],
)
def test_the_list_means_what_it_says(*, listed: str, name: str, port: int, is_allowed: bool) -> None:
    assert allows(entries_of([listed]), name, port) is is_allowed


@pytest.mark.parametrize(
    "address",
    [
        *(
            "127.0.0.1",
            "127.1.2.3",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
        ),
        *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"),
        *("2002:7f00:1::", "224.0.0.1", "ff02::1", "255.255.255.255", "fd00:ec2::254", "not an address"),
    ],
)
def test_an_address_that_is_not_public_is_never_reached(address: str) -> None:
    assert not may_reach(entries_of(["example.org"]), address, 443)


@pytest.mark.parametrize("address", ["93.184.215.14", "2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::ffff:93.184.215.14"])
def test_a_public_address_is_reached(address: str) -> None:
    assert may_reach((), address, 443)


def test_an_address_that_is_listed_itself_is_reached_on_that_port_alone() -> None:
    entries = entries_of(["10.0.0.5:9000"])
    assert [may_reach(entries, "10.0.0.5", port) for port in (9000, 443)] == [True, False]


@pytest.mark.parametrize(
    ("text", "name", "port"),
    [("a.b:1", "a.b", 1), ("[::1]:2", "::1", 2), ("::1", "::1", None), ("a.b:x", "a.b:x", None), ("A.B.", "a.b", None)],
)
def test_a_host_is_split(text: str, name: str, port: int | None) -> None:
    assert split_host(text) == (name, port)
