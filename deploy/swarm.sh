#!/usr/bin/env bash
# Makes the secrets that deploy/swarm.yaml expects, in the swarm that this machine manages:
#
#     make certs && make key NAME=alice FILE=.run/keys
#     deploy/swarm.sh secrets .run/certs .run/keys
#     deploy/swarm.sh forget                           # removes them: once the stack is gone, or before another try
#
# A secret never changes: to replace one, make another under a new name and put that into deploy/swarm.yaml.
set -euo pipefail

# Each with the file of the directory of certificates that it is made of.
CERTIFICATES=(ca=ca.pem broker_cert=broker.pem broker_key=broker.key listener_cert=listener.pem
  listener_key=listener.key logger_cert=logger.pem logger_key=logger.key rabbitmq_cert=rabbitmq.pem
  rabbitmq_key=rabbitmq.key)

main() {
  case ${1:-} in
    secrets) secrets "${2:?the directory of the certificates}" "${3:?the file of keys}" ;;
    forget) docker secret ls --quiet --filter label=fourwire | xargs --no-run-if-empty docker secret rm >/dev/null ;;
    *) echo "usage: deploy/swarm.sh secrets CERTS KEYS | forget" >&2 && exit 2 ;;
  esac
}

secrets() {
  local certificate password
  [[ -s $2 ]] || { echo "There is no $2: 'make key NAME=… FILE=$2' makes it." >&2 && exit 1; }
  for certificate in "${CERTIFICATES[@]}"; do
    create "${certificate%%=*}" <"$1/${certificate#*=}"
  done
  create broker_keys <"$2"
  # RabbitMQ's user is made at its first start: nobody knows the password.
  password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
  create amqp_url <<<"amqps://fourwire:$password@rabbitmq:5671/%2f"
  create rabbitmq_conf <<CONF
default_user = fourwire
default_pass = $password
log.console = true
# The defaults are for a server of its own: 60 % of the memory, and a write-ahead log of 512 MB that is kept in memory.
vm_memory_high_watermark.absolute = 768MB
disk_free_limit.absolute = 256MB
raft.wal_max_size_bytes = 67108864
listeners.tcp = none
listeners.ssl.default = 5671
ssl_options.cacertfile = /run/secrets/ca
ssl_options.certfile = /run/secrets/rabbitmq_cert
ssl_options.keyfile = /run/secrets/rabbitmq_key
ssl_options.verify = verify_peer
ssl_options.fail_if_no_peer_cert = true
CONF
}

create() { docker secret create --label fourwire "fourwire_$1" - >/dev/null; }

main "$@"
