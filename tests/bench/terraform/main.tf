# What `tests/bench/run` measures, for Terraform. anole/anole.yaml makes the same.
terraform {
  required_providers {
    openstack = { source = "terraform-provider-openstack/openstack" }
  }
}

provider "openstack" {
  cloud = "bench"
}

locals {
  data = toset([for index in range(8) : tostring(index)])
  web  = toset([for index in range(8) : tostring(index)])
  node = {
    0 = "CC-Ubuntu24.04"
    1 = "CC-Ubuntu24.04"
    2 = "CC-Ubuntu24.04"
    3 = "CC-Ubuntu24.04"
  }
}

data "openstack_networking_network_v2" "shared" {
  name = "sharednet1"
}

resource "openstack_blockstorage_volume_v3" "data" {
  for_each = local.data
  name     = "bench-data-${each.key}"
  size     = 1
}

resource "openstack_networking_secgroup_v2" "web" {
  for_each = local.web
  name     = "bench-web-${each.key}"
}

resource "openstack_networking_secgroup_rule_v2" "web" {
  for_each          = local.web
  security_group_id = openstack_networking_secgroup_v2.web[each.key].id
  direction         = "ingress"
  ethertype         = "IPv4"
  protocol          = "tcp"
  port_range_min    = 8080
  port_range_max    = 8080
  remote_ip_prefix  = "0.0.0.0/0"
}

resource "openstack_networking_port_v2" "node" {
  for_each   = local.node
  name       = "bench-node-${each.key}"
  network_id = data.openstack_networking_network_v2.shared.id
  security_group_ids = [
    openstack_networking_secgroup_v2.web[each.key].id,
    openstack_networking_secgroup_v2.web["7"].id,
  ]
}

resource "openstack_compute_instance_v2" "node" {
  for_each    = local.node
  name        = "bench-node-${each.key}"
  image_name  = each.value
  flavor_name = "m1.tiny"

  network {
    port = openstack_networking_port_v2.node[each.key].id
  }
}

resource "openstack_networking_floatingip_v2" "node" {
  for_each = local.node
  pool     = "public"
}

resource "openstack_networking_floatingip_associate_v2" "node" {
  for_each    = local.node
  floating_ip = openstack_networking_floatingip_v2.node[each.key].address
  port_id     = openstack_networking_port_v2.node[each.key].id
}

resource "openstack_compute_volume_attach_v2" "data" {
  for_each    = local.node
  instance_id = openstack_compute_instance_v2.node[each.key].id
  volume_id   = openstack_blockstorage_volume_v3.data[each.key].id
}
