#!/bin/sh
# Becomes the program that $1 names. What two of them share was made by secrets.sh, and is in /secrets.
set -eu
case $1 in
  etcd)
    # Its settings are variables of the environment.
    exec etcd
    ;;
  patroni)
    # The names are those of its own settings.
    set -a
    # shellcheck source=/dev/null
    . /secrets/patroni.env
    set +a
    exec patroni /cluster/patroni.yml
    ;;
  rabbitmq)
    export HOME=/var/lib/rabbitmq
    # Nodes of one cluster share it, and each wants a file of its own that nobody else can read.
    if [ ! -s "$HOME/.erlang.cookie" ]; then
      (umask 077 && cat /secrets/cookie >"$HOME/.erlang.cookie")
    fi
    exec env RABBITMQ_CONFIG_FILE=/secrets/rabbitmq.conf /usr/lib/rabbitmq/bin/rabbitmq-server
    ;;
  haproxy)
    exec haproxy -W -db -f /cluster/haproxy.cfg
    ;;
  *)
    exec "$@"
    ;;
esac
