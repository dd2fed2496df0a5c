//! What publisher and listener declare, alike, so that either may be there first; and what RabbitMQ's refusals mean.

use lapin::{
    Channel, Error, ErrorKind, ExchangeKind, Queue,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    protocol::{AMQPError, AMQPErrorKind, AMQPHardError, AMQPSoftError},
    types::{AMQPValue, FieldTable},
};
use proto::{
    Code, Failure,
    rabbitmq::{BINDING_KEY, DELIVERY_LIMIT, EXCHANGE, QUEUE_BYTES, Queues},
};

use super::{AmqpUrl, RABBITMQ};

/// What RabbitMQ says of our queues when they are declared again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depths {
    /// Messages in the queue of entries, without those that a consumer holds.
    pub queue: u32,
    /// Consumers of that queue.
    pub consumers: u32,
    /// Messages among the dead letters.
    pub dead_letters: u32,
}

/// Declares all that publisher and listener use; what is there already stays as it is. Says how many messages there are.
///
/// # Errors
/// If something of that name is there with other properties, or the connection is lost.
pub async fn declare_topology(channel: &Channel, queues: &Queues) -> Result<Depths, Error> {
    declare_bound_by(channel, queues, BINDING_KEY).await
}

/// As [`declare_topology`], with the queue bound to the exchange by `binding_key`.
pub(super) async fn declare_bound_by(
    channel: &Channel,
    queues: &Queues,
    binding_key: &str,
) -> Result<Depths, Error> {
    let Queues { entries, dead_letters } = queues;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    channel.exchange_declare(EXCHANGE.into(), ExchangeKind::Topic, durable, FieldTable::default()).await?;
    let exchange = dead_letters.as_str().into();
    channel.exchange_declare(exchange, ExchangeKind::Fanout, durable, FieldTable::default()).await?;
    let dead = declare_queue(channel, dead_letters, dead_letters, "", quorum()).await?;
    let mut arguments = quorum();
    arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(DELIVERY_LIMIT));
    arguments.insert("x-dead-letter-exchange".into(), text(dead_letters));
    // Otherwise a dead letter may be lost on its way. It asks for `reject-publish`.
    arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    let queue = declare_queue(channel, entries, EXCHANGE, binding_key, arguments).await?;
    Ok(Depths {
        queue: queue.message_count(),
        consumers: queue.consumer_count(),
        dead_letters: dead.message_count(),
    })
}

/// What an error of a connection or a declaration means to a publisher: nothing was sent. What an operator has to put
/// right is named, with the command.
pub(super) fn refusal(url: &AmqpUrl, error: Error) -> Failure {
    let message = if let ErrorKind::ProtocolError(refused) = error.kind() {
        what_to_put_right(url, refused)
    } else {
        let is_foreign = matches!(error.kind(), ErrorKind::ParsingError(_));
        is_foreign.then(|| "what answers at the address in AMQP_URL is not RabbitMQ".to_owned())
    };
    let failure = message.map_or_else(
        || Failure::unreachable(RABBITMQ),
        |message| Failure::new(Code::Unavailable, format!("{message}; nothing was stored")),
    );
    failure.because(error)
}

fn what_to_put_right(url: &AmqpUrl, refused: &AMQPError) -> Option<String> {
    let Queues { entries, dead_letters } = url.queues();
    let vhost = url.virtual_host();
    let said = refused.get_message().as_str();
    match refused.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
            // RabbitMQ quotes the name: "inequivalent arg 'x-queue-type' for queue 'logs.entries' in vhost '/'".
            let quoted = |name: &str| said.contains(&format!("'{name}'"));
            let queue =
                [entries, dead_letters].into_iter().find(|name| quoted(name) && said.contains("queue '"));
            Some(match queue {
                Some(queue) => format!(
                    "RabbitMQ has a queue {queue} of another kind: move its messages away and run `rabbitmqctl -p \
                     {vhost} delete_queue {queue}`, or set RABBITMQ_QUEUE to another name"
                ),
                None => format!(
                    "RabbitMQ has an exchange {EXCHANGE} or {dead_letters} of another kind: delete it, or use another \
                     virtual host than {vhost}"
                ),
            })
        }
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) if said.contains("Login") => {
            Some("RabbitMQ does not know the user in AMQP_URL, or the password is wrong".to_owned())
        }
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => Some(format!(
            "RabbitMQ refuses the user of AMQP_URL: see `rabbitmqctl list_permissions -p {vhost}`"
        )),
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => Some(format!(
            "RabbitMQ has no virtual host {vhost}, or the user of AMQP_URL may not use it: see `rabbitmqctl list_vhosts`"
        )),
        AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => None,
    }
}

/// Says how many messages and consumers there are.
async fn declare_queue(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
    arguments: FieldTable,
) -> Result<Queue, Error> {
    let declared = channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await?;
    let options = QueueBindOptions::default();
    channel.queue_bind(queue.into(), exchange.into(), key.into(), options, FieldTable::default()).await?;
    Ok(declared)
}

/// A replicated, synced queue with a limit, that refuses what it has no room for.
fn quorum() -> FieldTable {
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), text("quorum"));
    arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(QUEUE_BYTES));
    arguments.insert("x-overflow".into(), text("reject-publish"));
    arguments
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: AMQPErrorKind, said: &str) -> String {
        let url: AmqpUrl = "amqp://rabbitmq/team".parse().expect("a URL");
        let error = Error::from(ErrorKind::ProtocolError(AMQPError::new(kind, said.into())));
        refusal(&url, error).into_message()
    }

    #[test]
    fn what_somebody_has_to_put_right_is_named_with_the_command() {
        let inequivalent = AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED);
        let said =
            "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'logs.dead' in vhost 'team'";
        let message = told(inequivalent, said);
        assert!(message.contains("rabbitmqctl -p team delete_queue logs.dead"), "{message}");
        let said = "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'logs_topic' in vhost 'team'";
        let inequivalent = AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED);
        assert!(told(inequivalent, said).contains("an exchange logs_topic"));
        let refused = AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED);
        assert!(told(refused, "ACCESS_REFUSED").contains("list_permissions -p team"));
        let refused = AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED);
        let said = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN";
        assert!(told(refused, said).contains("the password is wrong"));
        let unknown = AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND);
        assert!(told(unknown, "NOT_FOUND").contains("cannot be reached"));
    }
}
