#!/bin/sh
# Makes the passwords of the cluster at its first start: for Fourwire's services in /secrets, for what they stand on in
# /data, which PostgreSQL and RabbitMQ mount. No file of the repository has them.
set -eu
[ ! -s /secrets/store ] || exit 0
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
rabbitmq=$(random)
fourwire=$(random)

umask 022
cd /data
random >cookie
cat >rabbitmq.conf <<CONF
default_user = fourwire
default_pass = $rabbitmq
log.console = true
cluster_name = fourwire
cluster_formation.peer_discovery_backend = classic_config
cluster_formation.classic_config.nodes.1 = rabbit@rabbitmq1
cluster_formation.classic_config.nodes.2 = rabbit@rabbitmq2
cluster_formation.classic_config.nodes.3 = rabbit@rabbitmq3
# A node that was left alone stops, and comes back when it sees the others: there is never a second cluster.
cluster_partition_handling = pause_minority
# Each queue has a member on all three, also one that was declared while a node was down.
quorum_queue.continuous_membership_reconciliation.enabled = true
quorum_queue.continuous_membership_reconciliation.auto_remove = false
quorum_queue.continuous_membership_reconciliation.interval = 5000
quorum_queue.continuous_membership_reconciliation.trigger_interval = 2000
quorum_queue.continuous_membership_reconciliation.target_group_size = 3
# A node that does not answer is taken for lost after this many seconds, a quarter more or less; by default after 60.
# With 10 a cut leader was missed for 12 s.
net_ticktime = 6
# The defaults are for a server of its own.
vm_memory_high_watermark.absolute = 768MB
disk_free_limit.absolute = 256MB
raft.wal_max_size_bytes = 67108864
CONF
cat >patroni.env <<ENV
PATRONI_SUPERUSER_USERNAME=postgres
PATRONI_SUPERUSER_PASSWORD=$(random)
PATRONI_REPLICATION_USERNAME=replicator
PATRONI_REPLICATION_PASSWORD=$(random)
FOURWIRE_PASSWORD=$fourwire
ENV

umask 077
cd /secrets
list=
for host in $RABBITMQ_HOSTS; do list="$list${list:+,}amqp://fourwire:$rabbitmq@$host:5672/%2f"; done
echo "$list" >amqp_url
echo "postgres://fourwire:$fourwire@postgres1:5432,postgres2:5432,postgres3:5432/fourwire" >store.new
mv store.new store
