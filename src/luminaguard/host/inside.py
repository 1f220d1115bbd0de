"""Who a program behind walls is, and what it finds in /etc there: the same behind every kind of walls."""

from collections.abc import Mapping
from pathlib import Path

AGENT_ID = "1000"
HOME = Path("/home/agent")
HOST_NAME = "sandbox"
COPIED = (
    "alternatives",
    "crypto-policies",
    "fonts",
    "java*",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "perl",
    "protocols",
    "python3*",
    "services",
    "ssl/openssl.cnf",
    "timezone",
)
"""What of /etc is copied: nothing in it is anybody's secret. Never ssl/private, gitconfig, npmrc, pip.conf."""
CERTIFICATES = ("pki/ca-trust/extracted", "pki/tls/certs", "ssl/certs")
WRITTEN: Mapping[str, str] = {
    "passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\n"
    f"agent:x:{AGENT_ID}:{AGENT_ID}:agent:{HOME}:/bin/sh\n"
    "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    "group": f"root:x:0:\nagent:x:{AGENT_ID}:\nnogroup:x:65534:\n",
    "hosts": f"127.0.0.1 localhost {HOST_NAME}\n::1 localhost\n",
    "resolv.conf": "",
    "nsswitch.conf": "passwd: files\ngroup: files\nshadow: files\nhosts: files\n",
    "hostname": f"{HOST_NAME}\n",
}
"""Files of /etc that are ours."""
