#!/bin/bash
# Makes the guests' image. In: OUT, an empty folder; the other scripts beside this one.
# Out: OUT/root.qcow2 (the root disk), OUT/vmlinuz, OUT/initrd. Nothing is mounted; root is not needed where users may
# have namespaces of their own.
set -euo pipefail
out=$1
here=$(cd "$(dirname "$0")" && pwd)
[ "$(id -u)" = 0 ] && mode=root || mode=unshare

packages=linux-image-cloud-amd64,busybox-static,systemd,systemd-sysv,udev,dbus,kmod,procps,psmisc,util-linux
packages+=,openssh-server,openssh-sftp-server,sudo,iproute2,ca-certificates,curl,python3-minimal
packages+=,parted,gdisk,fdisk,e2fsprogs,xfsprogs,lvm2,cryptsetup,mdadm,fuse3,rclone

# The kernel's own initrd is not used, so making it is skipped.
export INITRD=No
mmdebstrap --quiet --variant=minbase --mode="$mode" --format=null --include="$packages" \
  --aptopt='Acquire::Languages "none"' \
  --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' \
  --dpkgopt='path-exclude=/usr/share/info/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
  --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"' \
  --essential-hook='printf "MODULES=list\nCOMPRESS=lz4\n" >"$1/etc/initramfs-tools/conf.d/none"' \
  --customize-hook="bash '$here/customize.sh' \"\$1\"" \
  --customize-hook="bash '$here/disk.sh' \"\$1\"" \
  --customize-hook="copy-out /anole-image/root.qcow2 /anole-image/vmlinuz /anole-image/initrd '$out'" \
  bookworm
