"""A Cinder driver without data: every operation succeeds at once, as RBD's do with copy on write."""

from cinder import interface
from cinder.volume import driver


@interface.volumedriver
class LabVolumeDriver(driver.VolumeDriver):
    VERSION = "1.0"
    CI_WIKI_NAME = "none"

    def do_setup(self, context):
        pass

    def check_for_setup_error(self):
        pass

    def _update_volume_stats(self):
        name = self.configuration.safe_get("volume_backend_name")
        pool = {
            "pool_name": name,
            "total_capacity_gb": 100000,
            "free_capacity_gb": 100000,
            "provisioned_capacity_gb": 0,
            "max_over_subscription_ratio": 20.0,
            "thin_provisioning_support": True,
            "reserved_percentage": 0,
            "QoS_support": False,
            "multiattach": True,
            "online_extend_support": True,
        }
        self._stats = {
            "volume_backend_name": name,
            "vendor_name": "lab",
            "driver_version": self.VERSION,
            "storage_protocol": "ceph",
            "pools": [pool],
        }

    def create_volume(self, volume):
        pass

    def delete_volume(self, volume):
        pass

    def create_snapshot(self, snapshot):
        pass

    def delete_snapshot(self, snapshot):
        pass

    def create_volume_from_snapshot(self, volume, snapshot):
        pass

    def create_cloned_volume(self, volume, src_vref):
        pass

    def extend_volume(self, volume, new_size):
        pass

    def clone_image(self, context, volume, image_location, image_meta, image_service):
        # Without this Cinder would fetch the image and write it to a device.
        return {}, True

    def copy_image_to_volume(self, context, volume, image_service, image_id, disable_sparse=False):
        pass

    def copy_volume_to_image(self, context, volume, image_service, image_meta):
        pass

    def retype(self, context, volume, new_type, diff, host):
        return True, None

    def ensure_export(self, context, volume):
        pass

    def create_export(self, context, volume, connector):
        pass

    def remove_export(self, context, volume):
        pass

    def initialize_connection(self, volume, connector):
        connection = {"volume_id": volume["id"], "access_mode": "rw", "target_lun": 1}
        return {"driver_volume_type": "fake", "data": connection}

    def terminate_connection(self, volume, connector, **kwargs):
        pass
