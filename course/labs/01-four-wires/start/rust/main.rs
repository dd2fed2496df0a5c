//! Sends each line of standard input to the broker. The course's front end does it like this.

use http_body_util::{BodyExt, Full};
use hyper::{Request, body::Bytes};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::{Value, json};

async fn send(broker: &str, line: &Value) -> Value {
    let text = |field: &str| line[field].as_str().unwrap_or_default().to_owned();
    // TODO: the transport is fixed, and a quotation mark in the data ends the string too early.
    let id = line["id"].as_str().map_or_else(String::new, |id| format!(r#","id":"{id}""#));
    let body = format!(
        r#"{{"action":"log","transport":"http","log":{{"name":"{}","data":"{}"{id}}}}}"#,
        text("name"),
        text("data"),
    );
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let request = Request::post(format!("{broker}/handle")).body(Full::from(body)).unwrap();
    let response = client.request(request).await.unwrap();
    let accepted = response.status() == 202;
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&bytes).unwrap();
    // TODO: is every 202 the same promise? And what if nothing comes back?
    let outcome = if accepted { "stored" } else { "not_stored" };
    json!({ "n": line["n"], "id": answer["data"]["id"], "outcome": outcome })
}

#[tokio::main]
pub async fn main() {
    let broker = std::env::var("BROKER_URL").unwrap();
    for line in std::io::stdin().lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        println!("{}", send(&broker, &line).await);
    }
}
