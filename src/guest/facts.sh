# What is on the disks, and what is mounted where. Needs no rights: lsblk asks udev, and systemctl the system's bus.

# After a boot SSH answers before all that belongs to the boot is mounted: entries of fstab with `nofail` hold up nothing,
# and services of buckets come last. A look in between would tell of mounts that are gone, and a plan would mend them. So
# what systemd still has a job for is waited for, and a bucket's service that it is about to start again, as where the
# network came late; but not one that has ended time and again, for then its store is down, and that is what is to be told.
# Where there is no systemd, or no bus to ask it by, nothing is known of jobs and nothing is waited for.
on_its_way() {
    timeout 10 systemctl show --property=Job,SubState,NRestarts '*.mount' 'anole-bucket-*.service' 2>/dev/null | awk -F= '
        function tell() { if (restarts <= 3 && (job > 0 || state == "auto-restart")) found = 1; job = restarts = 0; state = "" }
        $1 == "Job" { job = $2 + 0 }
        $1 == "NRestarts" { restarts = $2 + 0 }
        $1 == "SubState" { state = $2 }
        NF == 0 { tell() }
        END { tell(); exit !found }'
}
looks=0
if [ -d /run/systemd/system ]; then
    while [ "$looks" -lt 30 ] && on_its_way; do looks=$((looks + 1)); sleep 1; done
fi
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
