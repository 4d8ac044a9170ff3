# shellcheck shell=bash
# The apt repository of one running lab: http on the bridge, signed with a key of this lab's own, so
# that apt's checks are really made. Each suite has two archives worded like Debian's, main and
# security, and one small archive for each fault that needs a package (slow, broken, kept-back).
# All of it runs inside the world.

# publish STATE: old, new or real. A whole new tree is made and signed, then put in place by one rename
publish() {
  local state=$1 stamp last tree suite number name packages ctl main security
  packages=$RUN/images/packages
  # apt ignores a Release that is older than the one it has, and a server's "not modified" counts in
  # whole seconds: each tree is at least one second younger than the last
  stamp=$(date +%s); last=$(cat "$RUN/repo/stamp" 2>/dev/null || echo 0)
  [ "$stamp" -gt "$last" ] || stamp=$((last + 1))
  tree=$RUN/repo/$stamp
  while read -r suite; do
    ctl=$RUN/images/ctl-$suite; main="$packages/installed $ctl/main"; security=''
    case $state in
      old) ;;
      new) main+=" $packages/main"; security=$packages/security ;;
      real) main+=" $packages/main"; security="$packages/security $ctl/security" ;;
      *) die "unknown state $state: old, new or real" ;;
    esac
    [ ! -d "$RUN/extra" ] || main+=" $RUN/extra"
    case $suite in
      bookworm) number=12 name=oldstable ;;
      trixie) number=13 name=stable ;;
      *) number=0 name=$suite ;;
    esac
    # shellcheck disable=SC2086 # lists of folders
    archive "$tree/$suite/main" Debian "$name" "$suite" "$number" "$stamp" $main
    # shellcheck disable=SC2086
    archive "$tree/$suite/security" Debian-Security "$name-security" "$suite-security" "$number" "$stamp" $security
    for fault in slow broken kept-back; do
      archive "$tree/$suite/$fault" Debian "$name" "$suite" "$number" "$stamp" "$packages/$fault"; done
  done < <(suites)
  ln -sfn "$stamp" "$RUN/repo/next"; mv -T "$RUN/repo/next" "$RUN/repo/www"
  echo "$stamp" >"$RUN/repo/stamp"
  echo "$state" >"$RUN/repo/state"
  [ "$last" = 0 ] || rm -rf "${RUN:?}/repo/$last"
}

# archive DIR LABEL SUITE CODENAME NUMBER STAMP SOURCE...: a flat archive of all packages of SOURCEs
archive() {
  local dir=$1 label=$2 suite=$3 codename=$4 number=$5 stamp=$6 source f
  shift 6
  mkdir -p "$dir"; : >"$dir/Packages"
  for source; do
    cat "$source/Packages" >>"$dir/Packages"
    ln -sf "$(readlink -f "$source")"/*.deb "$dir/"
  done
  gzip -1kn "$dir/Packages"
  { printf 'Origin: Debian\nLabel: %s\nSuite: %s\nCodename: %s\nVersion: %s\n' "$label" "$suite" "$codename" "$number"
    printf 'Date: %s\nSHA256:\n' "$(date -u -R -d "@$stamp" | sed 's/+0000/UTC/')"
    for f in Packages Packages.gz; do
      printf ' %s %d %s\n' "$(sha256sum <"$dir/$f" | cut -d' ' -f1)" "$(stat -c %s "$dir/$f")" "$f"; done
  } >"$dir/Release"
  gpg --homedir "$RUN/gnupg" --batch --quiet --clearsign -o "$dir/InRelease" "$dir/Release"
  touch -d "@$stamp" "$dir/Packages" "$dir/Packages.gz" "$dir/Release" "$dir/InRelease"
}

# repo_key makes the lab's signing key and exports what hosts check it with
repo_key() {
  mkdir -m 700 "$RUN/gnupg"; mkdir -p "$RUN/repo"
  gpg --homedir "$RUN/gnupg" --batch --quiet --passphrase '' --quick-gen-key 'Patch Lab <lab@lab.invalid>' ed25519 sign never 2>/dev/null
  gpg --homedir "$RUN/gnupg" --batch --export -o "$RUN/repo/lab.gpg"
}

repo_serve() {
  (cd / && exec setsid /usr/bin/python3 -m http.server --bind "$GATE" --directory "$RUN/repo/www" 80 </dev/null >>"$RUN/http.log" 2>&1) &
  echo $! >"$RUN/http.pid"
}

repo_source() { # repo_source SUITE ARCHIVE: a line for sources.list
  echo "deb [signed-by=/usr/share/keyrings/lab.gpg] http://$GATE/$1/$2 ./"; }
