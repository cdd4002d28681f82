#!/bin/bash
# Makes a fresh Debian a guest: its user, its network, its first boot, and no more at boot than it needs.
# In: ROOT, the tree of its files. Runs inside mmdebstrap.
set -euo pipefail
root=$1
here=$(cd "$(dirname "$0")" && pwd)

# The user of Chameleon's images. `*` is no password and, unlike `!`, no locked account: sshd without PAM refuses those.
chroot "$root" useradd -m -s /bin/bash -p '*' cc
echo 'cc ALL=(ALL) NOPASSWD:ALL' >"$root/etc/sudoers.d/cc"
chmod 440 "$root/etc/sudoers.d/cc"
printf '/dev/vda / ext4 noatime 0 0\n' >"$root/etc/fstab"
echo 'nameserver 10.0.2.3' >"$root/etc/resolv.conf"
echo guest >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 guest\n' >"$root/etc/hosts"
: >"$root/etc/machine-id"

# PAM costs a second at each login under emulation. Without it sshd still reads the user's groups at each login.
mkdir -p "$root/etc/ssh/sshd_config.d" "$root/etc/systemd/system/ssh.service.d"
cat >"$root/etc/ssh/sshd_config.d/guest.conf" <<'CONF'
UsePAM no
UseDNS no
PrintMotd no
PrintLastLog no
PasswordAuthentication no
HostKey /etc/ssh/ssh_host_ed25519_key
CONF
rm -f "$root"/etc/ssh/ssh_host_*
printf '[Service]\nExecStartPre=\nType=simple\n' >"$root/etc/systemd/system/ssh.service.d/guest.conf"

# Journal in memory; only the devices that a guest has are looked at; straight to the last target.
mkdir -p "$root/etc/systemd/journald.conf.d" "$root/etc/systemd/system/systemd-udev-trigger.service.d"
printf '[Journal]\nStorage=volatile\n' >"$root/etc/systemd/journald.conf.d/guest.conf"
cat >"$root/etc/systemd/system/systemd-udev-trigger.service.d/guest.conf" <<'CONF'
[Service]
ExecStart=
ExecStart=udevadm trigger --type=devices --action=add --subsystem-match=block --subsystem-match=net --subsystem-match=acpi --subsystem-match=input
CONF
ln -sfn /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
ln -sfn /dev/null "$root/etc/tmpfiles.d/systemd-nologin.conf"

masked="apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer
  systemd-tmpfiles-clean.timer mdmonitor-oneshot.timer mdcheck_start.timer mdcheck_continue.timer mdmonitor.service
  getty.target getty@tty1.service console-getty.service serial-getty@ttyS0.service
  systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service
  systemd-network-generator.service systemd-timesyncd.service systemd-firstboot.service
  systemd-binfmt.service proc-sys-fs-binfmt_misc.automount systemd-update-utmp.service
  systemd-update-utmp-runlevel.service lvm2-monitor.service lvm2-lvmpolld.socket blk-availability.service
  systemd-pcrphase.service systemd-pcrphase-sysinit.service systemd-pcrmachine.service systemd-journal-flush.service
  systemd-machine-id-commit.service dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount
  sys-kernel-tracing.mount sys-kernel-config.mount systemd-sysusers.service systemd-ask-password-console.path
  systemd-ask-password-wall.path systemd-repart.service systemd-boot-system-token.service
  systemd-hwdb-update.service systemd-pstore.service keyboard-setup.service systemd-modules-load.service
  cryptdisks.service cryptdisks-early.service systemd-fsck-root.service systemd-user-sessions.service"
for unit in $masked; do ln -sfn /dev/null "$root/etc/systemd/system/$unit"; done

install -m 755 "$here/guest.sh" "$root/usr/local/sbin/anole-guest"
cat >"$root/etc/systemd/system/anole-guest.service" <<'UNIT'
[Unit]
Description=The guest's network, and at its first boot its identity
DefaultDependencies=no
Wants=systemd-udevd.service
After=systemd-udev-trigger.service systemd-remount-fs.service basic.target
Before=ssh.service multi-user.target
[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=infinity
ExecStart=/usr/local/sbin/anole-guest
[Install]
WantedBy=multi-user.target
UNIT
cat >"$root/etc/systemd/system/anole-user-data.service" <<'UNIT'
[Unit]
Description=The server's user data
After=ssh.service
[Service]
Type=oneshot
ExecStart=/bin/bash -c 'set -o pipefail; /var/lib/anole/user-data 2>&1 | tee -a /var/log/cloud-init-output.log >/dev/console'
UNIT
chroot "$root" systemctl --quiet enable anole-guest.service ssh.service
rm -f "$root"/etc/systemd/system/multi-user.target.wants/e2scrub_reap.service
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/*
