# shellcheck shell=bash  # sourced
# Debian packages for the slow suites, installed when they are missing.

as_root() { if [[ $(id -u) = 0 ]]; then "$@"; else sudo "$@"; fi; }

# Packages that bring a service would start it on its usual port; this policy forbids it while they are installed.
apt_install() {
    local policy=/usr/sbin/policy-rc.d status=0
    if [[ -e $policy ]]; then
        policy=
    else
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" > /dev/null
        as_root chmod 755 "$policy"
    fi
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" || status=$?
    [[ -z $policy ]] || as_root rm -f "$policy"
    return "$status"
}
