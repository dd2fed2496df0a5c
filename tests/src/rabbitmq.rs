//! A virtual host of a test's own: in the RabbitMQ that `deploy/rabbitmq.sh with-test-node` has started, or that
//! of a [`Node`].

use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Queue,
    message::BasicGetMessage,
    options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};
use rig::{Node, Relay};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::{client, eventually, required, tls};

/// As whom the services come to RabbitMQ in a run over encrypted hops.
const SERVICES: &str = "services";

/// A virtual host. Nobody else uses it.
#[derive(Debug, Clone)]
pub struct VirtualHost {
    server: String,
    name: String,
}

impl VirtualHost {
    /// Makes one.
    ///
    /// # Panics
    /// If there is no RabbitMQ for tests: a test that needs it fails without it.
    pub async fn create() -> Self {
        let name = format!("test-{}", uuid::Uuid::now_v7());
        put(&format!("vhosts/{name}"), json!({})).await;
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        put(&format!("permissions/{name}/guest"), all.clone()).await;
        if let Some(password) = tls::rabbitmq_password() {
            // Several tests that make the same user at the same moment are told 400 now and then.
            static USER: OnceCell<()> = OnceCell::const_new();
            let user = json!({ "password": password, "tags": "" });
            USER.get_or_init(async || put(&format!("users/{SERVICES}"), user.clone()).await).await;
            put(&format!("permissions/{name}/{SERVICES}"), all).await;
        }
        VirtualHost { server: required("FOURWIRE_TEST_AMQP"), name }
    }

    /// The one of a node.
    pub fn of(node: &Node) -> Self {
        VirtualHost { server: node.amqp(), name: "%2f".to_owned() }
    }

    /// Its URL for the services, encrypted and with a password of its own if this run is.
    pub fn service_url(&self) -> String {
        let server = tls::rabbitmq_password().map(|password| {
            required("FOURWIRE_TEST_AMQPS").replace("guest:guest", &format!("{SERVICES}:{password}"))
        });
        format!("{}/{}", server.as_ref().unwrap_or(&self.server), self.name)
    }

    /// Its URL for the test itself.
    pub fn url(&self) -> String {
        format!("{}/{}", self.server, self.name)
    }

    /// Its URL for a user who is made for it.
    ///
    /// # Panics
    /// If RabbitMQ does not obey.
    pub async fn url_of_user(&self, user: &str, password: &str) -> String {
        put(&format!("users/{user}"), json!({ "password": password, "tags": "" })).await;
        let all = json!({ "configure": ".*", "write": ".*", "read": ".*" });
        put(&format!("permissions/{}/{user}", self.name), all).await;
        self.url().replace("guest:guest", &format!("{user}:{password}"))
    }

    /// Limits the bytes of every queue, below what the queue itself asks for.
    ///
    /// # Panics
    /// If RabbitMQ does not obey.
    pub async fn limit_queues(&self, bytes: usize) {
        let policy =
            json!({ "pattern": ".*", "apply-to": "queues", "definition": { "max-length-bytes": bytes } });
        put(&format!("policies/{}/small", self.name), policy).await;
    }

    /// Limits the bytes of one queue.
    ///
    /// # Panics
    /// As there.
    pub async fn limit_queue(&self, queue: &str, bytes: usize) {
        let pattern = format!("^{}$", queue.replace('.', "\\."));
        let definition = json!({ "max-length-bytes": bytes });
        let policy = json!({ "pattern": pattern, "apply-to": "queues", "definition": definition });
        put(&format!("policies/{}/{queue}", self.name), policy).await;
    }

    /// Publishes to the exchange of the entries, as anybody could, a message whose headers are nested so deeply. By
    /// RabbitMQ's management, since lapin writes them as it reads them: by recursion.
    ///
    /// # Panics
    /// If RabbitMQ does not obey.
    pub async fn publish_nested(&self, key: &str, payload: &str, levels: usize) {
        let headers = format!("{}{{}}{}", r#"{"in":"#.repeat(levels), "}".repeat(levels));
        let (key, payload) = (json!(key), json!(payload));
        let body = format!(
            r#"{{"properties":{{"delivery_mode":2,"headers":{headers}}},"routing_key":{key},"payload":{payload},"payload_encoding":"string"}}"#
        );
        let api = required("FOURWIRE_TEST_RABBITMQ_API");
        let url = format!("{api}/exchanges/{}/logs_topic/publish", self.name);
        let request = client().post(url).basic_auth("guest", Some("guest")).body(body);
        let answer = request.send().await.expect("RabbitMQ's management answers");
        let (status, said) = (answer.status(), answer.text().await.unwrap_or_default());
        assert!(status.is_success() && said.contains("true"), "{status}: {said}");
    }

    /// A relay in front of it, and its URL through the relay.
    ///
    /// # Panics
    /// If there is none.
    pub async fn relay(&self) -> (Relay, String) {
        rig::relay(&self.service_url()).await.expect("a relay")
    }

    /// A channel to it, in a connection of its own.
    ///
    /// # Panics
    /// If RabbitMQ is gone.
    pub async fn channel(&self) -> (Connection, Channel) {
        let connection = Connection::connect(&self.url(), ConnectionProperties::default()).await;
        let connection = connection.expect("RabbitMQ answers");
        let channel = connection.create_channel().await.expect("a channel");
        (connection, channel)
    }

    /// How many messages are ready in a queue.
    ///
    /// # Panics
    /// If there is no such queue.
    pub async fn depth(&self, queue: &str) -> u32 {
        self.queue(queue).await.expect("the queue is there").message_count()
    }

    /// Waits until so many messages are counted: RabbitMQ that is busy may say 0 of a quorum queue at first.
    ///
    /// # Panics
    /// If there never are, or there is no such queue.
    pub async fn holds(&self, queue: &str, messages: usize) {
        let what = format!("{queue} holds {messages}");
        eventually(&what, async || (self.depth(queue).await as usize == messages).then_some(())).await;
    }

    /// Whether there is such a queue.
    pub async fn has_queue(&self, queue: &str) -> bool {
        self.queue(queue).await.is_ok()
    }

    async fn queue(&self, queue: &str) -> lapin::Result<Queue> {
        let (_connection, channel) = self.channel().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        channel.queue_declare(queue.into(), options, FieldTable::default()).await
    }

    /// Takes one message off a queue.
    ///
    /// # Panics
    /// If there is no such queue.
    pub async fn get(&self, queue: &str) -> Option<BasicGetMessage> {
        let (_connection, channel) = self.channel().await;
        let options = BasicGetOptions { no_ack: true };
        channel.basic_get(queue.into(), options).await.expect("the queue is there")
    }

    /// Publishes as anybody could: by hand, without confirms.
    ///
    /// # Panics
    /// If RabbitMQ is gone.
    pub async fn publish(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
        let (connection, channel) = self.channel().await;
        let options = BasicPublishOptions::default();
        channel
            .basic_publish(exchange.into(), key.into(), options, body, properties)
            .await
            .expect("RabbitMQ takes it");
        // Closing waits until RabbitMQ has read everything before it.
        connection.close(200, "".into()).await.expect("RabbitMQ answers");
    }
}

async fn put(path: &str, body: serde_json::Value) {
    let url = format!("{}/{path}", required("FOURWIRE_TEST_RABBITMQ_API"));
    let response = client().put(url).basic_auth("guest", Some("guest")).json(&body).send().await;
    response.expect("RabbitMQ's management answers").error_for_status().expect("it obeys");
}
