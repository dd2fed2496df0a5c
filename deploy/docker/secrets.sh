#!/bin/sh
# Makes the password of RabbitMQ's user at the first start of deploy/compose.yaml, in the directory $1: what RabbitMQ
# reads, and what broker and listener read. Nobody knows it, and no file of the repository has it.
set -eu
cd "$1"
[ ! -s amqp_url ] || exit 0
password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
# RabbitMQ runs as another user. Nobody else mounts this directory.
umask 022
cat >rabbitmq.conf <<CONF
default_user = fourwire
default_pass = $password
log.console = true
# The defaults are for a server of its own: 60 % of the memory, and a write-ahead log of 512 MB that is kept in memory.
vm_memory_high_watermark.absolute = 768MB
disk_free_limit.absolute = 256MB
raft.wal_max_size_bytes = 67108864
CONF
umask 077
echo "amqp://fourwire:$password@rabbitmq:5672/%2f" >amqp_url.new
mv amqp_url.new amqp_url
