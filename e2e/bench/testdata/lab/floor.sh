#!/bin/sh
# The floor: what the packages themselves take, on all hosts at a time.
upgrade='apt-get update && DEBIAN_FRONTEND=noninteractive apt-get -y upgrade'
for host in "$@"; do
  if [ "$host" = "$(uname -n)" ]; then sh -c "$upgrade"; else ssh -o BatchMode=yes "root@$host" "$upgrade"; fi >"/tmp/floor.$host" 2>&1 ||
    touch /tmp/floor.failed &
done
wait
[ ! -e /tmp/floor.failed ]
