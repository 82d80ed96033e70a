#!/usr/bin/env bash
# A real S3 server, Ceph's RADOS Gateway, for as long as the standard input stays open:
#   s3-server.sh FOLDER GATEWAY_PORT MONITOR_PORT KEY SECRET
# One monitor, one store in memory, one gateway, all on 127.0.0.1, with what they need in FOLDER,
# which is removed in the end, but not when the start fails, so that it can be tried again. Prints
# "ready" once it answers; needs about 12 s and 350 MB.
set -euo pipefail
outer=$1 folder=$1/server port=$2 monitor=$3 key=$4 secret=$5
daemons=()

# The data is nobody's, so that an orderly stop, which takes seconds, is not worth its time.
clean_up() {
  local code=$?
  trap '' EXIT INT TERM HUP
  [ "$code" -eq 0 ] || tail -n 20 "$folder/log/output.log" >&2 || true
  for pid in "${daemons[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  if [ "$code" -eq 0 ]; then rm -rf "$outer"; else rm -rf "$folder"; fi
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

mkdir -p "$folder"/{mon,osd,run,log,rgw}
chmod 700 "$folder"
cd "$folder"
cluster=$(cat /proc/sys/kernel/random/uuid)
store=$(cat /proc/sys/kernel/random/uuid)
cat >ceph.conf <<CONF
[global]
fsid = $cluster
mon_host = [v1:127.0.0.1:$monitor]
public_addr = 127.0.0.1
ms_bind_msgr2 = false
auth_cluster_required = none
auth_service_required = none
auth_client_required = none
run_dir = $folder/run
admin_socket = $folder/run/\$name.asok
pid_file = $folder/run/\$name.pid
log_file = $folder/log/\$name.log
keyring = $folder/keyring
setuser_match_path =
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pgp_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data = $folder/mon
mon_cluster_log_file = $folder/log/cluster.log
osd_data = $folder/osd
osd_objectstore = memstore
memstore_device_bytes = 4294967296
osd_memory_target = 939524096
rgw_data = $folder/rgw
rgw_frontends = beast endpoint=127.0.0.1:$port
rgw_enable_usage_log = false
rgw_thread_pool_size = 32
CONF
export CEPH_CONF=$folder/ceph.conf

# In the foreground, as children of ours: their process ids are known before they can fail.
daemon() {
  "$@" -f >>"$folder/log/output.log" 2>&1 </dev/null &
  daemons+=($!)
}

monmaptool --create --fsid "$cluster" --addv a "[v1:127.0.0.1:$monitor]" monmap >/dev/null
ceph-mon -i a --mkfs --monmap monmap >>log/output.log 2>&1
daemon ceph-mon -i a
id=$(timeout 90 ceph osd new "$store" 2>>log/output.log)
ceph-osd -i "$id" --mkfs --osd-uuid "$store" >>log/output.log 2>&1
# One time in four it asks the monitor too early, is told "wrong fsid", and ends.
for ((i = 0; i < 20; i++)); do
  daemon ceph-osd -i "$id"
  while kill -0 "${daemons[-1]}" 2>/dev/null; do
    if grep -q 'done with init' "log/osd.$id.log" 2>/dev/null; then break 2; fi
    sleep 0.1
  done
done
daemon radosgw -n client.rgw.test
timeout 120 radosgw-admin user create --uid=test --display-name=test \
  --access-key="$key" --secret-key="$secret" >>log/output.log 2>&1
# Its answer to somebody without a name is an error, which is an answer.
for ((i = 0; i < 900; i++)); do
  if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
    echo ready
    read -r _ || true
    exit 0
  fi
  sleep 0.1
done
echo "the gateway does not answer on port $port" >&2
exit 1
