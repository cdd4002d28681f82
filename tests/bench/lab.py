"""The lab as an independent client sees it: a project and a user of one round's own, and what is in that project.

In: the cloud `lab-admin`. Out: a clouds.yaml with the one cloud `bench`, and a census that knows neither tool.
Invariant: whatever a round leaves, also one that failed, goes with its project.
"""

import collections
import contextlib
import os
import pathlib
import secrets
import time

import openstack
import yaml

PASSWORD = secrets.token_urlsafe(18)
QUOTAS = {
    "compute": {"instances": 20, "cores": 40, "ram": 102400, "key_pairs": 20},
    "volume": {"volumes": 40, "gigabytes": 200},
    "network": {"security_group": 40, "security_group_rule": 400, "floatingip": 20, "port": 100},
}


class Project:
    """A context manager: makes the project, and deletes it with all that is in it."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.admin = openstack.connect(cloud="lab-admin")

    def __enter__(self):
        with contextlib.ExitStack() as undo:
            self.make(undo)
            self.undo = undo.pop_all()
        return self

    def __exit__(self, *_):
        self.undo.close()

    def make(self, undo):
        identity = self.admin.identity
        name = f"bench-{secrets.token_hex(4)}"
        self.project = identity.create_project(name=name, domain_id="default")
        undo.callback(identity.delete_project, self.project)
        self.user = identity.create_user(name=name, password=PASSWORD, domain_id="default")
        undo.callback(identity.delete_user, self.user)
        for role in ("member", "reader"):
            role = identity.find_role(role, ignore_missing=False)
            identity.assign_project_role_to_user(project=self.project, user=self.user, role=role)
        self.admin.set_compute_quotas(self.project.id, **QUOTAS["compute"])
        self.admin.set_volume_quotas(self.project.id, **QUOTAS["volume"])
        self.admin.set_network_quotas(self.project.id, **QUOTAS["network"])
        config = self.admin.config
        auth = {
            "auth_url": config.config["auth"]["auth_url"], "username": name, "password": PASSWORD,
            "project_name": name, "user_domain_name": "Default", "project_domain_name": "Default",
        }
        cloud = {"auth": auth, "region_name": config.region_name}
        self.clouds = self.folder / "clouds.yaml"
        self.clouds.touch(mode=0o600)
        self.clouds.write_text(yaml.safe_dump({"clouds": {"bench": cloud}}))
        config = openstack.config.OpenStackConfig(config_files=[str(self.clouds)], load_envvars=False)
        self.cloud = openstack.connection.Connection(config=config.get_one("bench"))
        # Neutron makes a project's default group when it is first looked at; none of the tools shall pay for that.
        list(self.cloud.network.security_groups(project_id=self.project.id))
        undo.callback(self.forget_groups)
        undo.callback(self.empty)

    def forget_groups(self):
        for group in self.admin.network.security_groups(project_id=self.project.id):
            self.admin.network.delete_security_group(group)

    def environment(self):
        """The environment of a tool: no cloud but the round's own."""
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("OS_", "TF_", "ANOLE_"))}
        return kept | {"OS_CLIENT_CONFIG_FILE": str(self.clouds), "ANOLE_GUESTS": "none"}

    def leases(self):
        return self.cloud.session.get("/leases", endpoint_filter={"service_type": "reservation"}).json()["leases"]

    def groups(self):
        groups = self.cloud.network.security_groups(project_id=self.project.id)
        return [group for group in groups if group.name != "default"]

    def ports(self):
        return list(self.cloud.network.ports(project_id=self.project.id))

    def census(self):
        """How many there are of each kind, and what they look like, as far as both tools can say it."""
        cloud, project = self.cloud, self.project.id
        servers, ports = list(cloud.compute.servers()), self.ports()
        images = {image.id: image.name for image in cloud.image.images()}
        held = {port.id: port.device_id for port in ports}
        addresses = [held.get(ip.port_id) for ip in cloud.network.ips(project_id=project)]
        volumes = list(cloud.block_storage.volumes())
        attached = [one["server_id"] for volume in volumes for one in volume.attachments]
        groups = self.groups()
        rules = [
            (rule["protocol"], rule["port_range_min"], rule["port_range_max"], rule["remote_ip_prefix"])
            for group in groups for rule in group.security_group_rules if rule["direction"] == "ingress"
        ]
        counts = {
            "volumes": len(volumes), "security groups": len(groups), "rules": len(rules), "servers": len(servers),
            "ports": len(ports), "floating IPs": len(addresses), "attachments": len(attached),
            "leases": len(self.leases()),
        }
        looks = collections.Counter(f"a volume of {volume.size} GiB, {volume.status}" for volume in volumes)
        looks.update(f"a rule for {' '.join(map(str, rule))}" for rule in rules)
        for server in servers:
            own = [port for port in ports if port.device_id == server.id]
            looks[
                f"a server {server.status} of {images.get(server.image.id)} and {server.flavor.original_name}, with "
                f"{sum(len(port.security_group_ids) for port in own)} groups on {len(own)} ports, "
                f"{addresses.count(server.id)} floating IPs and {attached.count(server.id)} volumes"
            ] += 1
        return {name: count for name, count in counts.items() if count}, dict(sorted(looks.items()))

    def empty(self):
        """Deletes what a round that failed left behind."""
        cloud = self.cloud
        for lease in self.leases():
            cloud.session.delete(f"/leases/{lease['id']}", endpoint_filter={"service_type": "reservation"})
        for server in cloud.compute.servers():
            cloud.compute.delete_server(server)
        self.until(lambda: not list(cloud.compute.servers()), "servers")
        for address in cloud.network.ips(project_id=self.project.id):
            cloud.network.delete_ip(address)
        for port in self.ports():
            cloud.network.delete_port(port)
        for group in self.groups():
            cloud.network.delete_security_group(group)
        self.until(lambda: all(volume.status != "detaching" for volume in cloud.block_storage.volumes()), "volumes")
        for volume in cloud.block_storage.volumes():
            cloud.block_storage.delete_volume(volume)
        self.until(lambda: not list(cloud.block_storage.volumes()), "volumes")

    @staticmethod
    def until(done, what, seconds=120):
        deadline = time.monotonic() + seconds
        while not done():
            if time.monotonic() > deadline:
                raise SystemExit(f"the lab still has the round's {what} after {seconds} s")
            time.sleep(0.5)
