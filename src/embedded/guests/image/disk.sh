#!/bin/bash
# Makes a guest's disk and what it boots by. In: ROOT, the tree of its files. Runs inside mmdebstrap.
# Out: ROOT/anole-image/{root.qcow2,vmlinuz,initrd}, which are not on the disk.
set -euo pipefail
root=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# An initrd of busybox and the modules of a virtio disk with ext4, in the order in which they are loaded.
kernel=$(basename "$root"/lib/modules/*)
mkdir -p "$work"/initrd/{bin,dev,proc,newroot,modules}
cp "$root/bin/busybox" "$work/initrd/bin/"
modules=
for module in crc32c virtio_pci virtio_blk ext4; do
  while read -r verb path _; do
    name=$(basename "${path:-none}")
    [[ $verb = insmod && " $modules " != *" $name "* ]] || continue
    cp "$root$path" "$work/initrd/modules/"
    modules+=" $name"
  done < <(chroot "$root" modprobe -S "$kernel" --show-depends "$module")
done
cat >"$work/initrd/init" <<INIT
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
for module in $modules; do /bin/busybox insmod /modules/\$module; done
tries=0
while [ ! -b /dev/vda ] && [ \$tries -lt 500 ]; do /bin/busybox usleep 20000; tries=\$((tries + 1)); done
/bin/busybox mount -t ext4 -o rw,noatime /dev/vda /newroot || exec /bin/busybox sh
/bin/busybox mount -o move /dev /newroot/dev
/bin/busybox umount /proc
exec /bin/busybox switch_root /newroot /sbin/init
INIT
chmod 755 "$work/initrd/init"
(cd "$work/initrd" && find . | cpio -o -H newc --quiet --owner 0:0) >"$work/initrd.cpio"
cp -L "$root/vmlinuz" "$work/vmlinuz"
rm -f "$root"/boot/initrd.img-* "$root"/boot/System.map-*

# What is mounted in the tree while this runs is not the disk's.
mkdir "$work/tree"
tar -C "$root" --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' --exclude='./run/*' --exclude='./tmp/*' \
  -cf - . | tar -C "$work/tree" -xpf -
mke2fs -q -t ext4 -L root -d "$work/tree" -E lazy_itable_init=0,lazy_journal_init=0 "$work/root.raw" 4G
qemu-img convert -O qcow2 "$work/root.raw" "$work/root.qcow2"
mkdir "$root/anole-image"
mv "$work/root.qcow2" "$work/vmlinuz" "$root/anole-image/"
mv "$work/initrd.cpio" "$root/anole-image/initrd"
