# How a delivery ended: its status, the last line that it printed, and what it said last on its standard error.
cd || exit 1
cat "$folder/status" || exit 1
last=$(tail -n 1 "$folder/out")
printf '%s\n' "$last"
tail -n 20 "$folder/err" 2>/dev/null
exit 0
