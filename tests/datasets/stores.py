"""The stores that datasets are loaded into, and keys for them.

In: a program, or a lab that runs. Out: a `Store`: where it is, and keys that open it; for a site with Keystone, more
keys and their end. Servers listen on loopback only and end with the `with`.
"""

import contextlib
import json
import os
import pathlib
import re
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass

import boto3
import botocore.config


@dataclass
class Keys:
    access: str
    secret: str


@dataclass
class Store:
    """Where it is: for the loader possibly through a proxy, for the one who checks always straight."""

    name: str
    port: int
    keys: Keys
    site: object = None
    tls: bool = False
    certificate: pathlib.Path | None = None

    def endpoint(self, port=None):
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{port or self.port}"

    def client(self, keys=None):
        """Another client than ours."""
        keys = keys or self.keys
        settings = botocore.config.Config(
            s3={"addressing_style": "path"}, retries={"max_attempts": 5}, max_pool_connections=16,
            request_checksum_calculation="when_required", response_checksum_validation="when_required",
        )
        return boto3.client(
            "s3", endpoint_url=self.endpoint(), region_name="us-east-1", aws_access_key_id=keys.access,
            aws_secret_access_key=keys.secret, config=settings, verify=str(self.certificate) if self.tls else None,
        )


class Site:
    """A site's Keystone: EC2 credentials of its user."""

    def __init__(self, cloud, port_of=r"s3"):
        auth = cloud["auth"]
        self.url = auth["auth_url"].rstrip("/")
        self.url += "" if self.url.endswith("/v3") else "/v3"
        domain = {"name": auth.get("user_domain_name", "Default")}
        user = {"name": auth["username"], "password": auth["password"], "domain": domain}
        project = {"name": auth["project_name"], "domain": {"name": auth.get("project_domain_name", "Default")}}
        body = {"auth": {
            "identity": {"methods": ["password"], "password": {"user": user}}, "scope": {"project": project},
        }}
        answer, token = self.call("POST", "/auth/tokens", body)
        self.token, self.who = answer["token"], answer["token"]["user"]["id"]
        self.header = token

    def call(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Content-Type", "application/json")
        if getattr(self, "header", None):
            request.add_header("X-Auth-Token", self.header)
        data = json.dumps(body).encode() if body is not None else None
        with urllib.request.urlopen(request, data, timeout=60) as answer:
            text = answer.read()
            return (json.loads(text) if text else None), answer.headers.get("X-Subject-Token")

    def make_keys(self):
        body = {"tenant_id": self.token["project"]["id"]}
        made = self.call("POST", f"/users/{self.who}/credentials/OS-EC2", body)[0]["credential"]
        return Keys(made["access"], made["secret"])

    def end_keys(self, keys):
        with contextlib.suppress(urllib.error.HTTPError):
            self.call("DELETE", f"/users/{self.who}/credentials/OS-EC2/{keys.access}")

    def endpoint(self, kind, region=None):
        """The address of one of its services."""
        found = [
            endpoint["url"] for service in self.token["catalog"] if service["type"] == kind
            for endpoint in service["endpoints"]
            if endpoint["interface"] == "public" and region in (None, endpoint["region_id"])
        ]
        if not found:
            raise SystemExit(f"the site has no {kind}")
        return found[0]


def answers(port, seconds=30):
    """Waits until somebody listens."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise SystemExit(f"nobody listens on port {port}")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def ended(process):
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def embedded(anole, folder):
    """The embedded cloud, on a port."""
    folder, port = pathlib.Path(folder), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [anole, "cloud", "serve", "--port", str(port), "--profile", "chameleon-chi", "--folder", folder]
    environment = {**os.environ, "ANOLE_EMBEDDED_SCALE": "0"}
    served = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with ended(served):
        answers(port)
        auth = {"auth_url": f"http://127.0.0.1:{port}/identity/v3", "username": "demo", "password": "demo",
                "project_name": "CHI-embedded"}
        site = Site({"auth": auth})
        yield Store("the embedded cloud", port, site.make_keys(), site)


@contextlib.contextmanager
def lab(tls=False):
    """The Ceph gateway of tests/openstack, which runs."""
    import yaml

    clouds = yaml.safe_load(pathlib.Path(os.environ["OS_CLIENT_CONFIG_FILE"]).read_text())["clouds"]
    cloud = clouds["lab-chi"]
    site = Site(cloud)
    keys = site.make_keys()
    port = int(re.search(r":(\d+)", site.endpoint("s3", cloud["region_name"])).group(1))
    certificate = pathlib.Path(os.environ["OS_CLIENT_CONFIG_FILE"]).parent / "etc" / "ceph" / "tls.crt"
    try:
        name = "Ceph's gateway" + (" over TLS" if tls else "")
        yield Store(name, port + 1 if tls else port, keys, site, tls, certificate)
    finally:
        site.end_keys(keys)
