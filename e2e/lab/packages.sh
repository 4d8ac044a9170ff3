# shellcheck shell=bash
# The made-up packages of the lab: small, but built by dpkg-deb and installed by dpkg.

# mkdeb DIR NAME VERSION [FIELD=VALUE...]: FIELD is depends, conflicts, section, postinst (shell, run on
# configure), file (a path, made with one line in it) or conffile (the same, and dpkg guards it)
mkdeb() {
  local dir=$1 name=$2 version=$3 depends='' conflicts='' section=misc postinst='' file='' conffile='' tree kv
  shift 3
  for kv; do local "$kv"; done
  tree=$(mktemp -d)
  mkdir -p "$dir" "$tree/DEBIAN" "$tree/usr/share/$name"
  echo "$version" >"$tree/usr/share/$name/version"
  for f in $file $conffile; do
    mkdir -p "$tree$(dirname "$f")"; echo "setting=$version" >"$tree$f"; done
  [ -z "$conffile" ] || echo "$conffile" >"$tree/DEBIAN/conffiles"
  { echo "Package: $name"
    echo "Version: $version"
    echo "Architecture: all"
    echo "Maintainer: lab <lab@lab.invalid>"
    echo "Section: $section"
    echo "Priority: optional"
    [ -z "$depends" ] || echo "Depends: $depends"
    [ -z "$conflicts" ] || echo "Conflicts: $conflicts"
    echo "Description: made-up package of the patch lab"
  } >"$tree/DEBIAN/control"
  if [ -n "$postinst" ]; then
    # shellcheck disable=SC2016 # for dpkg
    printf '#!/bin/sh\nset -e\n[ "$1" = configure ] || exit 0\n%s\n' "$postinst" >"$tree/DEBIAN/postinst"
    chmod 755 "$tree/DEBIAN/postinst"
  fi
  dpkg-deb --root-owner-group -Zxz -z1 -b "$tree" "$dir/${name}_${version}_all.deb" >/dev/null
  rm -rf "$tree"
}

# mkkernel DIR ABI METAVERSION: a kernel as Debian packages it. The metapackage keeps its name and
# depends on a package with the ABI in its name, so that an upgrade has to install a new package
mkkernel() {
  local dir=$1 image=linux-image-$2-lab-amd64
  mkdeb "$dir" "$image" "$2-1" section=kernel file="/boot/vmlinuz-$2-lab-amd64" postinst="
    echo '*** System restart required ***' >/run/reboot-required
    echo $image >>/run/reboot-required.pkgs"
  mkdeb "$dir" linux-image-lab-amd64 "$3" section=kernel depends="$image"
}

# build_packages DIR: installed is what each host has at first; the other folders are archives
build_packages() {
  local d=$1 name
  for name in lab-app lab-sec lab-slow lab-broken lab-kept lab-relic lab-orphan; do mkdeb "$d/installed" $name 1.0-1; done
  mkdeb "$d/installed" lab-conf 1.0-1 conffile=/etc/lab-conf.conf
  mkkernel "$d/installed" 6.1.0-40 1.0

  mkdeb "$d/main" lab-app 2.0-1
  mkdeb "$d/main" lab-conf 2.0-1 conffile=/etc/lab-conf.conf
  mkdeb "$d/security" lab-sec 1.0-1+deb12u1
  mkkernel "$d/security" 6.1.0-41 1.1

  # served to the hosts on which the fault of that name was set
  # shellcheck disable=SC2016 # for dpkg
  mkdeb "$d/slow" lab-slow 2.0-1 postinst='sleep "$(cat /var/lib/lab/slow)"'
  mkdeb "$d/broken" lab-broken 2.0-1 postinst='echo "lab-broken: postinst fails on purpose" >&2; exit 1'
  mkdeb "$d/kept-back" lab-kept 2.0-1 conflicts=lab-relic
  for name in "$d"/*/; do index "$name"; done
}

# packages DIR: an archive of the packages on standard input, and no others
packages() {
  local line
  rm -rf "$1"; mkdir -p "$1"
  while IFS=$'\t' read -ra line; do mkdeb "$1" "${line[@]}"; done
  index "$1"
}

index() { (cd "$1" && apt-ftparchive packages . >Packages); }
