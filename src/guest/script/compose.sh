# Starts or stops the containers of a project, as a user who may use Docker, or else as root.

if ! command -v docker >/dev/null 2>&1 && ! command -v docker-compose >/dev/null 2>&1; then
    # Without Docker, nothing of it runs.
    [ "$way" != down ] || exit 0
    echo "there is no docker on this server: install it with a script, and name that in depends_on" >&2
    exit 127
fi
root=
if ! docker info >/dev/null 2>&1; then
    # With -E, so that the environment counts, which is not written on the command line.
    if sudo -n docker info >/dev/null 2>&1; then
        root='sudo -n -E'
    else
        docker info >/dev/null
        exit 1
    fi
fi
if $root docker compose version >/dev/null 2>&1; then
    set -- docker compose
elif command -v docker-compose >/dev/null 2>&1; then
    set -- docker-compose
else
    [ "$way" != down ] || exit 0
    echo "docker has no compose here: install docker-compose-plugin" >&2
    exit 127
fi
if [ "$way" = up ]; then
    exec $root "$@" -p "$project" --project-directory "$HOME" -f "$file" up -d --remove-orphans
fi
$root "$@" -p "$project" --project-directory "$HOME" -f "$file" down --remove-orphans && exit 0
# The file may not read without values that are not known any more; containers are found by their project's name too.
cd / && exec $root "$@" -p "$project" down --remove-orphans
