# One line for each file, FROM:MODE:OWNER:GROUP:PATH. Without FROM, the content is right already.
umask 022

own() {
    case $owner:$group in
        :) ;;
        *:) chown "$owner" "$1" ;;
        :*) chgrp "$group" "$1" ;;
        *) chown "$owner:$group" "$1" ;;
    esac
}

# Makes a folder and those above it; those that it makes belong to whom the file does.
make_folder() {
    case $1 in '' | /) return 0 ;; esac
    [ -d "$1" ] && return 0
    make_folder "${1%/*}" || return 1
    mkdir "$1" && own "$1"
}

printf '%s\n' "$list" | while IFS=: read -r from mode owner group path; do
    if [ -n "$from" ]; then
        folder=${path%/*}
        make_folder "$folder" || exit 1
        new=$folder/.anole-new.$$
        rm -f "$new"
        ( umask 077; cat "$from" >"$new" ) && chmod "$mode" "$new" && own "$new" && mv -f "$new" "$path" || {
            rm -f "$new"
            exit 1
        }
        rm -f "$from"
    else
        chmod "$mode" "$path" && own "$path" || exit 1
    fi
done || exit 1
rmdir "$inbox" 2>/dev/null
exit 0
