# Begins a delivery, unless it is under way or done; ends another one of the same name first. Says which in a word.
# Values: $folder, below the home folder; $program, there too; $wanted, the digest of $delivery, which is secret.
cd || exit 1
umask 077
dir=$HOME/$folder
mkdir -p "$dir" || exit 1
have=
{ read -r have; } 2>/dev/null <"$dir/wanted"
if { read -r leader born boot_id; } 2>/dev/null <"$dir/pid" && [ "$boot_id" = "$(boot)" ]; then
    if [ "$(started "$leader")" = "$born" ]; then
        if [ "$have" = "$wanted" ] && [ ! -e "$dir/status" ]; then echo 'under way'; exit 0; fi
        end_session || { printf 'stuck%s\n' "$found"; exit 0; }
    elif [ ! -d "/proc/$leader" ]; then
        # Its leader was killed, and what it led may go on.
        end_session || { printf 'stuck%s\n' "$found"; exit 0; }
    fi
fi
status=
{ read -r status; } 2>/dev/null <"$dir/status"
if [ "$have" = "$wanted" ] && [ "$status" = 0 ]; then echo ended; exit 0; fi

command -v setsid >/dev/null || { echo 'the server has no `setsid`; it is in the package util-linux'; exit 0; }
rm -f "$dir/status" "$dir/pid" "$dir/err"
: >"$dir/out" && printf '%s\n' "$wanted" >"$dir/wanted" || { echo "cannot write to $dir"; exit 0; }
{ printf '%s' "$delivery"; } 2>/dev/null </dev/null | setsid sh -c '
    "$1" dataset run >>"$2/out" 2>"$2/err"
    echo $? >"$2/status.new" && mv "$2/status.new" "$2/status"' sh "$HOME/$program" "$dir" >/dev/null 2>&1 &
leader=$!
printf '%s %s %s\n' "$leader" "$(started "$leader")" "$(boot)" >"$dir/pid"
echo begun
