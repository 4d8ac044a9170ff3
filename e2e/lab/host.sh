# shellcheck shell=bash
# One host: its disk, its hardware (a loop around systemd-nspawn) and the ways in. All of it runs inside the world.

host() { # sets IDX IP LOGIN BASE ROLE of host $1
  read -r IDX IP LOGIN BASE ROLE _ < <(awk -v h="$1" '$1==h{print NR,$2,$3,$4,$5}' "$RUN/hosts") || die "no host $1 in this lab"; }

create_all() {
  local h
  while read -r h _; do create "$h"; done <"$RUN/hosts"
  while read -r h _; do
    host "$h"; if [ "$ROLE" = controller ]; then make_controller "$h"; fi
  done <"$RUN/hosts"
}

create() {
  local h=$1 root=$RUN/root/$1 disk=$RUN/disk/$1 low home=/root
  host "$h"
  mkdir -p "$root" "$disk"
  mount -t tmpfs -o "size=${DISK_MIB}m,mode=755" "lab-$h" "$disk"; mkdir "$disk/upper" "$disk/work"
  low=$(readlink -f "$RUN/images/host-$BASE"):$(readlink -f "$RUN/images/base-$BASE")
  case $ROLE in
    controller) low=$(readlink -f "$RUN/images/ctl-$BASE")/root:$low ;;
    watch) low=$(readlink -f "$RUN/images/watch-$BASE"):$low ;;
  esac
  mount -t overlay overlay -o "lowerdir=$low,upperdir=$disk/upper,workdir=$disk/work" "$root"

  ip netns add "$h"
  ip link add "v$IDX" type veth peer name eth0 netns "$h"
  ip link set "v$IDX" master br0
  ip -n "$h" link set lo up; ip -n "$h" addr add "$IP/24" dev eth0; ip -n "$h" link set eth0 up

  echo "$h" >"$root/etc/hostname"; tr -d - </proc/sys/kernel/random/uuid >"$root/etc/machine-id"
  { echo 127.0.0.1 localhost; awk '{print $2, $1}' "$RUN/hosts"; echo "$GATE repo"; } >"$root/etc/hosts"
  cp "$RUN/repo/lab.gpg" "$root/usr/share/keyrings/lab.gpg"
  { repo_source "$BASE" main; repo_source "$BASE" security; } >"$root/etc/apt/sources.list.d/lab.list"

  ssh-keygen -q -t ed25519 -N '' -C "$h" -f "$root/etc/ssh/ssh_host_ed25519_key"
  echo "$h,$IP $(cut -d' ' -f1,2 "$root/etc/ssh/ssh_host_ed25519_key.pub")" >>"$RUN/known_hosts"
  if [ "$LOGIN" != root ]; then
    home=/home/$LOGIN
    chroot "$root" useradd -m -s /bin/bash "$LOGIN"
    echo "$LOGIN ALL=(ALL) NOPASSWD: ALL" >"$root/etc/sudoers.d/$LOGIN"; chmod 440 "$root/etc/sudoers.d/$LOGIN"
  fi
  mkdir -p "$root$home/.ssh"; chmod 700 "$root$home/.ssh"
  install -m 600 "$RUN/key.pub" "$root$home/.ssh/authorized_keys"
  chroot "$root" chown -R "$LOGIN:" "$home/.ssh"
}

make_controller() { # the key, the host keys and the inventory
  local root=$RUN/root/$1
  install -m 600 "$RUN/key" "$root/root/.ssh/id_ed25519"
  install -m 600 "$RUN/known_hosts" "$root/root/.ssh/known_hosts"
  mkdir -p "$root/etc/ansible"
  inventory >"$root/etc/ansible/hosts.yml"
  printf '[defaults]\ninventory = /etc/ansible/hosts.yml\ninterpreter_python = /usr/bin/python3\n' >"$root/etc/ansible/ansible.cfg"
}

inventory() {
  local wave
  printf 'all:\n  children:\n    patch_controller:\n      hosts:\n'
  awk '$5=="controller"{print "        " $1 ":"}' "$RUN/hosts"
  printf '    patching_targets:\n      children:\n'
  while read -r wave; do
    printf '        patching_wave%d:\n          hosts:\n' "$wave"
    awk -v wave="$wave" '$6==wave {
      print "            " $1 ":"
      print "              ansible_host: " $2
      if ($5 == "controller") print "              ansible_connection: local"
      else print "              ansible_user: " $3
      if ($3 != "root") print "              ansible_become: true"
    }' "$RUN/hosts"
  done < <(awk '$6!="-"{print $6}' "$RUN/hosts" | sort -nu)
}

# ---------------------------------------------------------------- power
boot_all() {
  local hosts i; mapfile -t hosts < <(awk '{print $1}' "$RUN/hosts")
  # at most 6 boot at a time: more only get in each other's way on 2 cores
  for ((i = 0; i < ${#hosts[@]} + 6; i++)); do
    if [ $i -ge 6 ]; then wait_ssh "${hosts[i - 6]}" 180; fi
    if [ $i -lt ${#hosts[@]} ]; then boot "${hosts[i]}"; fi
  done
}

boot() { # start the loop that is the host's hardware
  local h=$1; host "$h"
  [ "$(cat "$RUN/power/$h" 2>/dev/null)" != on ] || { say "$h is on"; return 0; }
  echo on >"$RUN/power/$h"
  setsid "$HERE/lab" __power "$h" </dev/null >>"$RUN/$h.console" 2>&1 &
}

# power is the machine under one host: with --keep-unit, nspawn exits 133 when the guest asks for a
# reboot, and is started again. Every start and end goes to HOST.boots, which the host can't change
power() {
  local h=$1 rc t dir; host "$h"
  for dir in /sys/fs/cgroup "$RUN/memory"; do
    [ -e "$dir/cgroup.procs" ] || continue
    mkdir -p "$dir/$h"; echo $$ >"$dir/$h/cgroup.procs"
  done
  while :; do
    echo "$(date +%s.%N) boot" >>"$RUN/$h.boots"
    [ -e "$RUN/$h.nolink" ] || ip link set "v$IDX" up
    # a time namespace a boot: uptime and btime start from zero, as on a machine just switched on
    rc=0; t=$(cut -d. -f1 /proc/uptime)
    unshare --time --monotonic "-$t" --boottime "-$t" \
      systemd-nspawn --quiet --register=no --keep-unit --settings=no --link-journal=no --resolv-conf=off \
      --timezone=off -M "$h" -D "$RUN/root/$h" --network-namespace-path="/run/netns/$h" --console=pipe --boot || rc=$?
    ip link set "v$IDX" down                    # a machine that is off does not answer ARP
    echo "$(date +%s.%N) exit $rc" >>"$RUN/$h.boots"
    if [ $rc != 133 ] || [ -e "$RUN/$h.noreturn" ]; then break; fi
    sleep "$(cat "$RUN/$h.bootdelay" 2>/dev/null || echo 0)"
  done
  echo "off (rc $rc)" >"$RUN/power/$h"
}

# ---------------------------------------------------------------- ways in
host_exec() { # ends in exec: call it in a subshell to go on
  local h=$1 pid; shift; host "$h"
  pid=$(head -1 "/sys/fs/cgroup/$h/payload/init.scope/cgroup.procs" 2>/dev/null) || true
  [ -n "$pid" ] || die "$h is not running"
  [ ! -e "$RUN/memory/$h" ] || echo $BASHPID >"$RUN/memory/$h/cgroup.procs"
  exec nsenter -t "$pid" -m -u -i -n -p -C -T -r -w -- env -i HOME=/root LANG=C.UTF-8 TERM="${TERM:-dumb}" \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# push copies through the running host: /tmp and /run are mounted there, and invisible from outside
push() {
  local h=$1 src=$2 dst=$3 mode
  if [ -d "$src" ]; then
    # shellcheck disable=SC2016 # expanded in the host
    tar -C "$src" -c . | "$HERE/lab" exec "$h" sh -c 'mkdir -p "$0" && tar -C "$0" -x --no-same-owner' "$dst"
  else
    mode=$(stat -c %a "$src")
    "$HERE/lab" exec "$h" install -D -m "$mode" /dev/stdin "$dst" <"$src"
  fi
}

wait_ssh() {
  local h=$1 t=${2:-60} end; host "$h"; end=$((SECONDS + t))
  while [ $SECONDS -lt $end ]; do
    [ "$(timeout 1 bash -c "exec 3<>/dev/tcp/$IP/22; head -c4 <&3" 2>/dev/null)" != SSH- ] || return 0
    sleep 0.1
  done
  die "$h: no sshd after $t s"
}

status() {
  local h mem boots
  printf '%-16s %-15s %-9s %-12s %6s %6s  %s\n' HOST IP BASE POWER MiB BOOTS SYSTEMD
  while read -r h _; do
    host "$h"; mem=-
    if [ -e "$RUN/memory/$h" ]; then
      mem=$(awk '/^total_(rss|shmem) /{s+=$2} END{printf "%d", s/1048576}' "$RUN/memory/$h/memory.stat"); fi
    boots=$(grep -c boot "$RUN/$h.boots" 2>/dev/null || true)
    printf '%-16s %-15s %-9s %-12s %6s %6s  %s\n' "$h" "$IP" "$BASE" "$(cat "$RUN/power/$h" 2>/dev/null || echo new)" \
      "$mem" "$boots" "$( (host_exec "$h" systemctl is-system-running) 2>/dev/null </dev/null || true)"
  done <"$RUN/hosts"
  echo "repository: $(cat "$RUN/repo/state")"
}
