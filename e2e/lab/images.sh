# shellcheck shell=bash
# Images: what hosts start from. Each is a folder named after the recipe that made it, so a changed
# recipe makes a new folder and never pulls an image from under a running lab.
#
#   packages-ID      made-up packages
#   base-SUITE-ID    Debian as mmdebstrap makes it, from main alone: security updates are left to be made
#   host-SUITE-ID    a layer on base: what each host of the lab has (dress), made-up packages installed
#   ctl-SUITE-ID     root/: a layer on host with ansible-core and git, for the controller, and what tests of the
#                    engine compare it with (peers); main/, security/: real packages, served by the lab's repository
#   watch-SUITE-ID   a layer on host with what hears of runs: ntfy, Prometheus, Alertmanager, node_exporter. Built only
#                    for a hosts file with a host of that role

BASE_PACKAGES=systemd,systemd-sysv,dbus,libpam-systemd,openssh-server,sudo,python3,python3-apt,iproute2
BASE_PACKAGES+=,iputils-ping,procps,curl,ca-certificates,less,needrestart
CTL_PACKAGES='ansible-core git openssh-client'
# served with all they depend on, so that a bare host can install them
SERVED_PACKAGES="$CTL_PACKAGES prometheus-node-exporter unattended-upgrades"
WATCH_PACKAGES='ntfy prometheus prometheus-alertmanager prometheus-node-exporter'

# image KIND [SUITE]: the folder of that image as the present recipe makes it
image() {
  local kind=$1 suite=${2:-} recipe=''
  case $kind in
    packages) recipe=$(declare -f build_packages mkdeb mkkernel) ;;
    base) recipe="$BASE_PACKAGES $(declare -f build_base)" ;;
    host) recipe="$(image packages) $(image base "$suite") $(declare -f build_host dress layer)" ;;
    ctl) recipe="$(image host "$suite") $SERVED_PACKAGES $(declare -f build_ctl peers)" ;;
    watch) recipe="$(image host "$suite") $WATCH_PACKAGES $(declare -f build_watch)" ;;
  esac
  echo "$IMAGES/$kind${suite:+-$suite}-$(sha256sum <<<"${recipe//$IMAGES/}" | cut -c1-10)"
}

# build [SUITE...]: build what is missing
build() {
  local suite kind; [ $# -gt 0 ] || set -- bookworm
  check_needs
  build_image packages ''
  for suite; do
    for kind in base host ctl; do build_image $kind "$suite"; done
  done
}

build_image() {
  local kind=$1 suite=$2 dir start=$SECONDS lock; dir=$(image "$kind" "$suite")
  [ ! -d "$dir" ] || return 0
  mkdir -p "$IMAGES"
  exec {lock}>"$IMAGES/lock"; flock "$lock"      # one build at a time
  if [ -d "$dir" ]; then exec {lock}>&-; return 0; fi
  say "building ${dir##*/}"
  # folders of older recipes, unless some lab may be standing on them
  [ -n "$(running_labs)" ] || rm -rf "$IMAGES/$kind${suite:+-$suite}"-*
  rm -rf "$dir.part"; mkdir -p "$dir.part"
  "build_$kind" "$dir.part" "$suite"
  mv "$dir.part" "$dir"
  exec {lock}>&-
  say "built ${dir##*/} in $((SECONDS - start)) s"
}

# check_needs says what is missing on this machine, and installs nothing
check_needs() {
  local missing='' p
  command -v dpkg-query >/dev/null || die "needs Debian (or a relative): images are made by mmdebstrap"
  while read -r p; do
    dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || missing+=" $p"
  done <"$HERE/needs"
  [ -z "$missing" ] || die "packages are missing; install them with: apt-get install -y$missing"
}

# mirror: the one this machine uses, so that no host name is written here
mirror() {
  local m=${LAB_MIRROR:-}
  [ -n "$m" ] || m=$(awk '/^URIs:/{print $2; exit}
    /^deb /{for(i=2;i<=NF;i++) if($i~/^https?:/){print $i; exit}}' \
    /etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null || true)
  [ -n "$m" ] || die "no Debian mirror in this machine's sources; set LAB_MIRROR"
  echo "${m%/}"
}

build_base() {
  local dir=$1 suite=$2 m; m=$(mirror)
  mmdebstrap --quiet --variant=minbase --mode=root --format=directory --include="$BASE_PACKAGES" \
    --aptopt='Acquire::Languages "none"' --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    "$suite" "$dir" "deb $m $suite main"
}

build_host() {
  local dir=$1 suite=$2
  layer "$dir" "$(image base "$suite")" "" "$(image packages)" "$(declare -f dress)
    dpkg --force-unsafe-io -i /mnt/installed/*.deb >/dev/null
    # as if they had come as dependencies: the kernel of its metapackage, lab-orphan of nothing any more
    apt-mark -qq auto linux-image-6.1.0-40-lab-amd64 lab-orphan
    dress"
}

# dress (run in the image): what makes Debian a host of the lab
dress() {
  local unit
  : >/etc/machine-id
  : >/etc/apt/sources.list
  rm -f /etc/ssh/ssh_host_* /run/reboot-required*
  rm -rf /var/lib/apt/lists/*
  # apt's own timers take the dpkg lock at random times: off here; a test that wants them turns them on
  for unit in apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer \
    systemd-timesyncd.service getty@tty1.service console-getty.service; do
    ln -sf /dev/null "/etc/systemd/system/$unit"; done
  mkdir -p /etc/systemd/system.conf.d /var/lib/prometheus/node-exporter
  # how long a stuck service may hold up a shutdown (90 s by default)
  printf '[Manager]\nDefaultTimeoutStopSec=15s\n' >/etc/systemd/system.conf.d/lab.conf
  printf 'DPkg::Use-Pty "0";\nAcquire::Languages "none";\n' >/etc/apt/apt.conf.d/90lab
  echo 'UseDNS no' >/etc/ssh/sshd_config.d/lab.conf
  # a log starts with the host, not with its image
  : >/var/log/dpkg.log
  rm -f /var/log/apt/*
}

build_ctl() {
  local dir=$1 suite=$2 m archives; m=$(mirror)
  mkdir "$dir/root"
  layer "$dir/root" "$(image host "$suite"):$(image base "$suite")" /etc/resolv.conf "$dir" "
    $(declare -f peers)
    echo 'deb $m $suite main' >/etc/apt/sources.list
    apt-get -qq update
    apt-get -qq --no-install-recommends --download-only install $SERVED_PACKAGES >/dev/null
    mkdir /mnt/main; cp /var/cache/apt/archives/*.deb /mnt/main
    apt-get -qq --no-install-recommends -o Dpkg::Options::=--force-unsafe-io install $CTL_PACKAGES >/dev/null
    peers
    # what security has published since for all of this
    echo 'deb $m-security $suite-security main' >>/etc/apt/sources.list
    apt-get -qq update
    apt-get -qq --no-install-recommends --download-only dist-upgrade $SERVED_PACKAGES >/dev/null
    mkdir /mnt/security; cp /var/cache/apt/archives/*.deb /mnt/security
    (cd /mnt/main; for deb in *; do rm -f \"/mnt/security/\$deb\"; done)
    apt-get clean
    rm -rf /var/lib/apt/lists/* /var/log/apt/*
    : >/var/log/dpkg.log
    : >/etc/apt/sources.list"
  for archives in "$dir/main" "$dir/security"; do index "$archives"; done
}

# peers (run in the image): strace; ansible-runner and the collection ansible.posix, which has the stock callbacks.
# The latter two are unpacked and not installed: they would bring the package ansible, of 250 MB
peers() {
  local dir=/tmp/peers
  mkdir $dir; cd $dir
  apt-get -qq -o APT::Sandbox::User=root download ansible python3-ansible-runner
  apt-get -qq --no-install-recommends -o Dpkg::Options::=--force-unsafe-io install strace \
    $(dpkg-deb --field python3-ansible-runner_*.deb Depends | tr ',' '\n' | grep -v '|' | awk '$1 != "ansible" {print $1}') >/dev/null
  dpkg-deb --extract python3-ansible-runner_*.deb /
  mkdir -p /usr/share/ansible/collections
  dpkg-deb --fsys-tarfile ansible_*.deb | tar -x -C /usr/share/ansible/collections --strip-components=5 \
    ./usr/lib/python3/dist-packages/ansible_collections/ansible/posix
  cd /; rm -r $dir
}

# build_watch: the servers do not start by themselves, because they have nothing to do before a test gave them their
# configurations
build_watch() {
  local dir=$1 suite=$2 m; m=$(mirror)
  layer "$dir" "$(image host "$suite"):$(image base "$suite")" /etc/resolv.conf "$dir" "
    echo 'deb $m $suite main' >/etc/apt/sources.list
    apt-get -qq update
    apt-get -qq --no-install-recommends -o Dpkg::Options::=--force-unsafe-io install $WATCH_PACKAGES >/dev/null
    systemctl -q disable ntfy prometheus prometheus-alertmanager
    apt-get clean
    rm -rf /var/lib/apt/lists/* /var/log/apt/*
    : >/var/log/dpkg.log
    : >/etc/apt/sources.list"
}

# layer UPPER LOWER RESOLV MNT SCRIPT: run SCRIPT in a chroot on LOWER; what it changes is kept in UPPER.
# RESOLV is the resolv.conf it gets (none: ''), MNT a folder it finds on /mnt
layer() {
  local work=$1.work
  rm -rf "$work"; mkdir -p "$work/w" "$work/root"
  # shellcheck disable=SC2016 # expanded by the inner shell
  UPPER=$1 LOWER=$2 RESOLV=$3 MNT=$4 SCRIPT=$5 WORK=$work unshare --mount --propagation private bash -euc '
    root=$WORK/root
    mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$UPPER,workdir=$WORK/w" "$root"
    mount --bind /dev "$root/dev"; mount -t proc proc "$root/proc"; mount --bind "$MNT" "$root/mnt"
    [ -z "$RESOLV" ] || cp -L --remove-destination "$RESOLV" "$root/etc/resolv.conf"
    printf "#!/bin/sh\nexit 101\n" >"$root/usr/sbin/policy-rc.d"; chmod +x "$root/usr/sbin/policy-rc.d"
    # needrestart would look at the processes of this machine
    env -i PATH="$PATH" LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 HOME=/root chroot "$root" bash -euc "$SCRIPT"
    rm -f "$root/usr/sbin/policy-rc.d" "$root/etc/resolv.conf"'
  rm -rf "$work"
}
