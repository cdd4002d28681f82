# Ends what goes on of a delivery, and forgets it. Values: $folder.
cd || exit 1
dir=$HOME/$folder
if { read -r leader born boot_id; } 2>/dev/null <"$dir/pid" && [ "$boot_id" = "$(boot)" ]; then
    if [ "$(started "$leader")" = "$born" ] || [ ! -d "/proc/$leader" ]; then
        end_session || { printf 'stuck%s\n' "$found"; exit 0; }
    fi
fi
rm -rf "$dir"
