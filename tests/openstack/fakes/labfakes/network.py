"""Neutron without agents: what an agent would report is reported at once, and nothing on the machine is touched."""

from neutron.services.l3_router import l3_router_plugin
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class LabMechanismDriver(api.MechanismDriver):
    """Binds every port to its first segment and makes it ACTIVE, as the Open vSwitch agent would."""

    def initialize(self):
        pass

    @property
    def connectivity(self):
        return portbindings.CONNECTIVITY_L2

    def bind_port(self, context):
        details = {portbindings.CAP_PORT_FILTER: True, portbindings.OVS_HYBRID_PLUG: False}
        for segment in context.segments_to_bind[:1]:
            context.set_binding(segment[api.ID], portbindings.VIF_TYPE_OVS, details, status=constants.PORT_STATUS_ACTIVE)


class LabRouterPlugin(l3_router_plugin.L3RouterPlugin):
    """Neutron's own routers and floating IPs; a floating IP becomes ACTIVE with its port, and DOWN without.

    The L3 agent does this after it has answered the request, so the answer itself still has the old status.
    """

    def _report(self, context, floating_ip):
        bound = floating_ip.get("port_id")
        status = constants.FLOATINGIP_STATUS_ACTIVE if bound else constants.FLOATINGIP_STATUS_DOWN
        if floating_ip["status"] != status:
            self.update_floatingip_status(context.elevated(), floating_ip["id"], status)

    def create_floatingip(self, context, floatingip):
        created = super().create_floatingip(context, floatingip)
        self._report(context, created)
        return created

    def update_floatingip(self, context, id, floatingip):
        updated = super().update_floatingip(context, id, floatingip)
        self._report(context, updated)
        return updated

    def disassociate_floatingips(self, context, port_id, *args, **kwargs):
        admin = context.elevated()
        bound = self.get_floatingips(admin, filters={"port_id": [port_id]})
        result = super().disassociate_floatingips(context, port_id, *args, **kwargs)
        for floating_ip in bound:
            self.update_floatingip_status(admin, floating_ip["id"], constants.FLOATINGIP_STATUS_DOWN)
        return result
