#!/bin/sh
# The floor: what the packages themselves take, on all hosts at a time. The controller is one of them.
upgrade='apt-get update && DEBIAN_FRONTEND=noninteractive apt-get -y upgrade'
for host in "$@"; do
  ssh -o BatchMode=yes "root@$host" "$upgrade" >"/tmp/floor.$host" 2>&1 || touch /tmp/floor.failed &
done
sh -c "$upgrade" >/tmp/floor.self 2>&1 || touch /tmp/floor.failed
wait
[ ! -e /tmp/floor.failed ]
