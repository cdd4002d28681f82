cd || exit 1
umask 077
dir=$HOME/$folder
mkdir -p "$dir" || exit 1
if { read -r leader born boot_id; } 2>/dev/null <"$dir/pid"; then
    if [ "$boot_id" = "$(boot)" ] && [ "$(started "$leader")" = "$born" ]; then
        end_session || { printf 'stuck%s\n' "$found"; exit 0; }
        echo ended
    fi
    rm -f "$dir/pid"
fi
printf 'home %s\n' "$HOME"
[ -e "$dir/done" ] && echo done
case $creates in
    '') ;;
    '~/'*) [ -e "$HOME/${creates#??}" ] && echo created ;;
    *) [ -e "$creates" ] && echo created ;;
esac
exit 0
