# shellcheck shell=bash
# Faults: what can be broken in a running lab, and put right again. They run inside the world.

fault_kinds() { sed -n '/^fault() {/,/^}/s/^    # \{0,1\}//p' "$HERE/faults.sh"; }

fault() {
  local kind=$1 h=${2:-} arg=${3:-} cg
  case $kind in repo-*) ;; *) host "$h"; cg=/sys/fs/cgroup/$h ;; esac
  case $kind in
    # kill HOST                 power cut, and off when this returns; `lab start` brings it back with the same disk
    kill) echo 1 >"$cg/payload/cgroup.kill"; until_off "$h" ;;
    # hang, unhang HOST         every process stands still; the kernel still answers TCP
    hang) echo 1 >"$cg/payload/cgroup.freeze" ;;
    unhang) echo 0 >"$cg/payload/cgroup.freeze" ;;
    # link-down, link-up HOST   cable out, also over a reboot; the host goes on working
    link-down) touch "$RUN/$h.nolink"; ip link set "v$IDX" down ;;
    link-up) rm -f "$RUN/$h.nolink"; ip link set "v$IDX" up ;;
    # noreturn, return HOST     the next reboot stays off / comes back
    noreturn) touch "$RUN/$h.noreturn" ;;
    return) rm -f "$RUN/$h.noreturn" ;;
    # bootdelay HOST SECONDS    what the firmware takes between two boots (30)
    bootdelay) echo "${arg:-30}" >"$RUN/$h.bootdelay" ;;
    # fill HOST [KIB]           the disk has KIB free (0); the disk is shrunk, so no memory is spent on it
    fill) mount -o remount,size="$(($(df -k --output=used "$RUN/disk/$h" | tail -1) + ${arg:-0}))k" "$RUN/disk/$h" ;;
    # unfill HOST
    unfill) mount -o remount,size="${DISK_MIB}m" "$RUN/disk/$h" ;;
    # lock HOST SECONDS         a process holds the dpkg lock, as another apt would (60); unlock ends it
    lock) (host_exec "$h" systemd-run -q --unit lab-lock python3 -c "import fcntl, time
f = open('/var/lib/dpkg/lock-frontend', 'w'); fcntl.lockf(f, fcntl.LOCK_EX); time.sleep(${arg:-60})") ;;
    unlock) (host_exec "$h" systemctl stop lab-lock) ;;
    # slow HOST SECONDS         an update of lab-slow whose postinst takes that long (20)
    slow) (host_exec "$h" sh -c "mkdir -p /var/lib/lab && echo ${arg:-20} >/var/lib/lab/slow"); offer "$h" slow ;;
    # broken HOST               an update of lab-broken whose postinst fails
    # kept-back HOST            an update of lab-kept that only a dist-upgrade can make: lab-relic has to go
    broken | kept-back) offer "$h" "$kind" ;;
    # unslow, unbroken, unkept-back HOST
    unslow | unbroken | unkept-back) (host_exec "$h" rm -f "/etc/apt/sources.list.d/${kind#un}.list") ;;
    # no-sshd, sshd HOST        sshd stopped / started
    no-sshd) (host_exec "$h" systemctl stop ssh) ;;
    sshd) (host_exec "$h" sh -c 'systemctl stop lab-tarpit 2>/dev/null; systemctl start ssh') ;;
    # tarpit HOST               in place of sshd, something that takes every connection and never says a word
    tarpit) (host_exec "$h" systemctl stop ssh)
      (host_exec "$h" systemd-run -q --unit lab-tarpit python3 -c "import socket
taken, s = [], socket.create_server(('', 22))
while True: taken.append(s.accept())") ;;
    # memory HOST MIB           for all its processes (64), or +MIB besides what they have; the OOM killer does the
    #                           rest. Needs cgroup v1
    memory) [ -e "$RUN/memory/$h" ] || die "no v1 memory controller on this machine"
      case $arg in +*) arg=$((arg + $(cat "$RUN/memory/$h/memory.usage_in_bytes") / 1048576)) ;; esac
      echo "${arg:-64}M" >"$RUN/memory/$h/memory.limit_in_bytes" ;;
    # failunit HOST             a unit that fails from the next boot on
    failunit) (host_exec "$h" sh -c 'printf "[Service]\nType=oneshot\nExecStart=/bin/false\n[Install]\nWantedBy=multi-user.target\n" \
      >/etc/systemd/system/lab-fail.service && systemctl enable -q lab-fail') ;;
    # repo-down, repo-up        the repository's server, for all hosts
    repo-down) kill "$(cat "$RUN/http.pid")" ;;
    repo-up) repo_serve ;;
    *) die "unknown fault $kind; \`lab fault\` lists them" ;;
  esac
}

until_off() {
  local end=$((SECONDS + 60))
  while [ "$(cat "$RUN/power/$1")" = on ]; do
    [ $SECONDS -lt $end ] || die "$1 is not off after 60 s"
    sleep 0.05
  done
}

offer() { # offer HOST ARCHIVE: one more archive in the host's sources
  repo_source "$BASE" "$2" | (host_exec "$1" sh -c "cat >/etc/apt/sources.list.d/$2.list"); }
