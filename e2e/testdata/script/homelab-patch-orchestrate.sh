#!/bin/bash
# What docs/migrate.md comes from: a wrapper around one ansible-playbook a wave.
set -u
cd /opt/homelab || exit 1
. /etc/homelab/patching-notify.env
prom=/var/lib/prometheus/node-exporter/patch_orchestrate.prom
[ ! -e /etc/homelab/MAINTENANCE ] || exit 0
code=0
for wave in 0 1 2; do
	ansible-playbook -i hosts.yml patch.yml --limit "patching_wave$wave" "$@" || { code=$?; break; }
done
case " $* " in *' --check '*) exit $code ;; esac
{
	echo "# HELP homelab_patch_orchestrate_last_exit_code Exit code of the last run."
	echo "# TYPE homelab_patch_orchestrate_last_exit_code gauge"
	echo "homelab_patch_orchestrate_last_exit_code $code"
} >"$prom.new" && mv "$prom.new" "$prom"
curl -s -d "patching ended with $code" "$NTFY_URL/$NTFY_PATCH_TOPIC" >/dev/null || true
exit $code
