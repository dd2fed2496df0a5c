# RabbitMQ from Debian's package, for where the official image cannot be pulled. It takes what deploy/compose.yaml
# gives to that one: the same volumes, the same configuration.
ARG BASE_IMAGE=debian:trixie-slim
FROM ${BASE_IMAGE}
RUN apt-get update \
  && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends rabbitmq-server \
  && rabbitmq-plugins enable --offline rabbitmq_management \
  && rm -rf /var/lib/apt/lists/* /var/lib/rabbitmq/.erlang.cookie /var/lib/rabbitmq/mnesia
USER rabbitmq
ENV HOME=/var/lib/rabbitmq
VOLUME /var/lib/rabbitmq
CMD ["/usr/lib/rabbitmq/bin/rabbitmq-server"]
