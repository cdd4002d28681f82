# One line for each path: nothing there, a folder, or a file and its digest.
printf '%s\n' "$paths" | while IFS= read -r path; do
    if [ -d "$path" ]; then
        echo folder
    elif [ -e "$path" ] || [ -L "$path" ]; then
        sum=$(sha256sum <"$path" 2>/dev/null)
        printf 'file %s\n' "${sum%% *}"
    else
        echo nothing
    fi
done
