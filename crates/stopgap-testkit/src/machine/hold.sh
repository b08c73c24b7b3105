# Holds a machine's root in a mount namespace of its own, from the first start to the last, and starts
# and ends what runs on it as the words on its input say. At the end of the input, which is also the end
# of the test that wrote it, everything goes.
#
#   hold.sh FOLDER ROOT [overlay]
#
# FOLDER is empty. ROOT is the machine's root; with `overlay` it stays as it is under a layer in memory.
set -eu
here=$1 base=$2 kind=${3-}

mount -t tmpfs -o mode=755 tmpfs "$here"
mkdir "$here/root" "$here/cgroup"
if [ "$kind" = overlay ]; then
    mkdir "$here/upper" "$here/work"
    mount -t overlay overlay -o "lowerdir=$base,upperdir=$here/upper,workdir=$here/work" "$here/root"
    # What is enabled and mounted on the machine below is not this one's business.
    rm -rf "$here/root/etc/systemd/system"
    mkdir "$here/root/etc/systemd/system"
    : >"$here/root/etc/fstab"
else
    mount --bind "$base" "$here/root"
fi

# A control group of its own, below the one that this runs in: systemd takes what it finds for its own.
mount -t cgroup2 cgroup2 "$here/cgroup"
inside=$(sed -n 's/^0:://p' /proc/self/cgroup)
group="$here/cgroup/$inside/stopgap-${here##*/}"
mkdir "$group"

machine=
end() {
    [ -n "$machine" ] || return 0
    # The first process takes all others of its namespace along, and is gone only when they are.
    init=
    { read -r init <"/proc/$machine/task/$machine/children"; } 2>/dev/null || :
    kill -KILL ${init:-$machine} 2>/dev/null || :
    wait "$machine" || :
    machine=
}

while read -r word; do
    case $word in
    boot)
        end
        # Its own words are about how the machine ended, which is always by a signal.
        unshare --pid --mount --uts --ipc --net --fork --kill-child \
            sh -c 'exec 2>&3 3>&-; echo 0 >"$0/cgroup.procs" && exec unshare --cgroup sh "$1" "$2"' \
            "$group" "${0%/*}/boot.sh" "$here/root" </dev/null 3>&2 >&2 2>/dev/null &
        machine=$!
        echo "$machine"
        ;;
    # Until it has ended by itself: longer than systemd gives a service to stop, and not for ever.
    ended)
        timeout 150 tail -s 0.05 -f --pid="$machine" /dev/null || echo "it did not end by itself" >&2
        end
        echo ended
        ;;
    esac
done
end
# Bottom up, and what is not empty yet a moment later.
for _ in 1 2 3 4 5 6 7 8 9 10; do
    find "$group" -depth -type d -exec rmdir {} + 2>/dev/null || :
    [ -d "$group" ] || break
    sleep 0.1
done
