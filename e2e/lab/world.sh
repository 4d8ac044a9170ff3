# shellcheck shell=bash
# A world: private pid, mount, net, uts and cgroup namespaces that hold one lab.

# world_pid [WORLD]: the world's PID 1 as seen from outside; fails when the lab is not up. The cgroup is
# compared as well: after a crash the number may belong to another process
world_pid() {
  local world=${1:-$WORLD} pid; pid=$(cat "/run/$world/world.pid" 2>/dev/null) || return 1
  grep -qs "/$world/world\$" "/proc/$pid/cgroup" && echo "$pid"
}

running_labs() { # the worlds of all labs that are up
  local dir
  for dir in /run/patchlab-*/; do
    dir=$(basename "$dir"); if world_pid "$dir" >/dev/null; then echo "$dir"; fi
  done
}

inside() { # run this script's command inside the world
  local w; w=$(world_pid) || die "lab $WORLD is not up"
  exec nsenter -t "$w" -m -p -n -u -C -- env LAB_INSIDE=1 LAB_NAME="${LAB_NAME:-}" LAB_IMAGES="$IMAGES" LAB_DISK="$DISK_MIB" "$HERE/lab" "$@"
}

suites() { awk '{print $4}' "$RUN/hosts" | sort -u; }
watched() { awk '$5=="watch"{print $4}' "$RUN/hosts" | sort -u; } # suites of hosts of the role watch

up() {
  local extra=${1:-0} i suite kind w
  [ -z "$(world_pid || true)" ] || die "lab $WORLD is already up; end it with: lab down"
  clean
  mkdir -m 700 "$RUN"; mkdir "$RUN/images"
  awk '!/^[[:space:]]*(#|$)/' "$CONF" >"$RUN/hosts"
  for ((i = 1; i <= extra; i++)); do
    printf 'node%02d %s.%d root bookworm target 0\n' "$i" "${GATE%.*}" $((100 + i)) >>"$RUN/hosts"; done
  mapfile -t i < <(suites)
  build "${i[@]}"
  # the images of this lab: it keeps them even when a recipe changes while it runs
  ln -s "$(image packages)" "$RUN/images/packages"
  for suite in "${i[@]}"; do
    for kind in base host ctl; do ln -s "$(image $kind "$suite")" "$RUN/images/$kind-$suite"; done; done
  for suite in $(watched); do build_image watch "$suite"; ln -s "$(image watch "$suite")" "$RUN/images/watch-$suite"; done
  ssh-keygen -q -t ed25519 -N '' -C lab -f "$RUN/key"
  raise_inotify
  make_cgroups
  # joined before unshare, which makes the cgroup it is in the root of the world's view. setsid: a lab
  # outlives the terminal it was started from
  # shellcheck disable=SC2016 # expanded by the inner shell
  setsid bash -euc 'for dir in $1; do echo $$ >"$dir/cgroup.procs"; done; shift; exec "$@"' bash "$(cgroups)" \
    unshare --mount --propagation private --pid --fork --kill-child --net --uts --cgroup --mount-proc \
    env LAB_INSIDE=1 LAB_NAME="${LAB_NAME:-}" LAB_IMAGES="$IMAGES" LAB_DISK="$DISK_MIB" "$HERE/lab" __world </dev/null >"$RUN/world.log" 2>&1 &
  w=$!
  while [ ! -e "$RUN/world.ready" ] && [ -d "/proc/$w" ]; do sleep 0.1; done
  [ -e "$RUN/world.ready" ] || { cat "$RUN/world.log" >&2; clean; die "the world of lab $WORLD did not start"; }
  tr -d ' ' <"/proc/$w/task/$w/children" >"$RUN/world.pid"
  (inside repo-state new)
  (inside __create)
  (inside __boot)
}

down() { clean; restore_inotify; }

# clean ends all processes of the lab and removes what it left, also after a crash or half a start
clean() {
  local dir i
  for dir in $(cgroups); do
    [ -d "$dir" ] || continue
    for ((i = 0; i < 100; i++)); do
      if [ -e "$dir/cgroup.kill" ]; then echo 1 >"$dir/cgroup.kill"; fi
      find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || true
      [ -d "$dir" ] || break; sleep 0.05
    done
    [ ! -d "$dir" ] || die "processes of lab $WORLD do not end; see $dir"
  done
  if mountpoint -q "$RUN/cgroup2"; then umount "$RUN/cgroup2"; fi
  rm -rf "$RUN"
}

# cgroups: the lab's own subtrees. The first is cgroup v2; on a hybrid machine there is one for the v1
# memory controller as well, used for figures and the fault `memory` only
cgroups() {
  local two; two=$(awk '$3=="cgroup2"{print $2; exit}' /proc/mounts)
  echo "${two:-$RUN/cgroup2}/$WORLD"
  if [ -e /sys/fs/cgroup/memory/cgroup.procs ]; then echo "/sys/fs/cgroup/memory/$WORLD"; fi
}

make_cgroups() {
  local dir
  if ! grep -q ' cgroup2 ' /proc/mounts; then mkdir -p "$RUN/cgroup2"; mount -t cgroup2 cgroup2 "$RUN/cgroup2"; fi
  for dir in $(cgroups); do mkdir -p "$dir"; done
}

# Each systemd takes some 5 inotify instances, and the machine's limit is 128 by default: the 25th host
# would die without a word. The limit is the machine's; the last lab to end puts it back
raise_inotify() {
  local now; now=$(sysctl -n fs.inotify.max_user_instances)
  [ "$now" -lt 1024 ] || return 0
  [ -e /run/patchlab.inotify ] || echo "$now" >/run/patchlab.inotify
  sysctl -qw fs.inotify.max_user_instances=1024
}

restore_inotify() {
  [ -e /run/patchlab.inotify ] && [ -z "$(running_labs)" ] || return 0
  sysctl -qw fs.inotify.max_user_instances="$(cat /run/patchlab.inotify)"
  rm /run/patchlab.inotify
}

world() { # PID 1 of the world; bash reaps what is left to it
  trap 'exit 0' TERM
  umount -R /sys/fs/cgroup 2>/dev/null || true
  mount -t cgroup2 cgroup2 /sys/fs/cgroup      # nspawn sees pure v2, whatever the machine has
  mkdir -p /sys/fs/cgroup/world; echo $$ >/sys/fs/cgroup/world/cgroup.procs
  mkdir -p /run/systemd /run/netns             # nspawn's locks, and ip's names
  mount -t tmpfs -o mode=755 tmpfs /run/systemd
  mount -t tmpfs -o mode=755 tmpfs /run/netns; mount --make-shared /run/netns
  mkdir -p "$RUN/root" "$RUN/disk" "$RUN/power" "$RUN/memory"
  mount -t cgroup -o memory cgroup "$RUN/memory" 2>/dev/null || true
  hostname "$WORLD"
  ip link set lo up
  ip link add br0 type bridge; ip addr add "$GATE/24" dev br0; ip link set br0 up
  repo_key
  repo_serve
  touch "$RUN/world.ready"
  while :; do sleep 3600 & wait $! || true; done
}
