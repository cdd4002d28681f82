# What is on the disks, and what is mounted where. Needs no rights: lsblk asks udev.
echo '== boot'
cat /proc/sys/kernel/random/boot_id
echo '== devices'
lsblk -b -P -o NAME,PATH,MAJ:MIN,PKNAME,TYPE,SIZE,SERIAL,FSTYPE,UUID,PARTUUID 2>/dev/null ||
    lsblk -b -P -o NAME,MAJ:MIN,PKNAME,TYPE,SIZE,SERIAL,FSTYPE,UUID,PARTUUID
echo '== links'
for link in /dev/disk/by-id/*; do
    if [ -L "$link" ]; then echo "${link##*/} $(readlink -f "$link")"; fi
done
echo '== mounts'
cat /proc/self/mountinfo
echo '== end'
