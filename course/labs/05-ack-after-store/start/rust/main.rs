//! Consumes log entries and hands them to the logger, as the course's listener does.

use futures_util::StreamExt;
use http_body_util::Full;
use hyper::{Request, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use lapin::{
    Connection, ConnectionProperties,
    options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};

#[tokio::main]
pub async fn main() {
    let url = std::env::var("AMQP_URL").unwrap();
    let logger = std::env::var("LOGGER_HTTP_URL").unwrap() + "/log";
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let connection = Connection::connect(&url, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    // TODO: a queue of one's own is gone with the connection, and a second listener gets everything once more.
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await.unwrap();
    let (name, bind) = (queue.name().clone(), QueueBindOptions::default());
    channel
        .queue_bind(name.clone(), "logs_topic".into(), "log.*".into(), bind, FieldTable::default())
        .await
        .unwrap();
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut consumer = channel.basic_consume(name, "".into(), options, FieldTable::default()).await.unwrap();
    while let Some(Ok(delivery)) = consumer.next().await {
        let request = Request::post(&logger).body(Full::from(delivery.data)).unwrap();
        // TODO: RabbitMQ has forgotten the message already, whatever comes back.
        let _ = client.request(request).await;
    }
}
