# shellcheck shell=bash  # sourced
# One process each, known by its recorded id: start, stop, wait.
#
# RUN/<name>.pid holds "<process id> <start time>", the start time as the kernel gives it: an id that was given to another
# process since has another start time, and is never signalled. Each process leads a group of its own (setsid).

# The kernel's start time of a live process. One that has ended and whose parent has not yet asked how is not alive.
start_time() { # process id
    local -a stat
    read -ra stat <<< "$(sed 's/.*) //' "/proc/$1/stat" 2> /dev/null)"
    [[ ${#stat[@]} -gt 19 && ${stat[0]} != Z ]] && printf '%s\n' "${stat[19]}"
}

# The process id, if it is ours and runs.
running() { # name
    local pid started
    read -r pid started 2> /dev/null < "$RUN/$1.pid" || return 1
    [[ -n $started && $(start_time "$pid") = "$started" ]] && printf '%s\n' "$pid"
}

start() { # name command...
    local name=$1 pid
    shift
    ! running "$name" > /dev/null || return 0
    # The lock of the whole command must not live on in what it starts.
    (cd "$VAR" && exec setsid "$@" >> "$LOG/$name.out" 2>&1 < /dev/null 9>&-) &
    pid=$!
    printf '%s %s\n' "$pid" "$(start_time "$pid")" > "$RUN/$name.pid"
}

# Ends the process: asked first, killed after some seconds. Then whatever it left of its group.
stop() { # name [seconds]
    local name=$1 patience=${2:-8} pid i
    if pid=$(running "$name"); then
        kill -TERM -- "-$pid" 2> /dev/null || kill -TERM "$pid" 2> /dev/null || true
        for ((i = 0; i < patience * 10; i++)); do
            running "$name" > /dev/null || break
            sleep 0.1
        done
        kill -KILL -- "-$pid" 2> /dev/null || true
    fi
    rm -f "$RUN/$name.pid"
}

recorded() { find "$RUN" -name '*.pid' -printf '%f\n' 2> /dev/null | sed 's/\.pid$//' | sort; }

# Repeats a command until it succeeds. What it waits for may have died: then there is nothing to wait for.
wait_for() { # what seconds name command...
    local what=$1 end=$((SECONDS + $2)) name=$3
    shift 3
    until "$@" > /dev/null 2>&1; do
        running "$name" > /dev/null || die "$name ended; its log: $(log_of "$name")"
        ((SECONDS < end)) || die "$what did not answer in time; its log: $(log_of "$name")"
        sleep 0.2
    done
}

log_of() { if [[ -s $LOG/$1.log ]]; then echo "$LOG/$1.log"; else echo "$LOG/$1.out"; fi; }

port_open() { (exec 3<> "/dev/tcp/127.0.0.1/$1") 2> /dev/null; }

# Any answer but an error of the server's own will do: most ask for a token.
answers() { # url
    local code
    code=$(curl -s -o /dev/null -m 5 -w '%{http_code}' "$1") && ((code > 0 && code < 500))
}
