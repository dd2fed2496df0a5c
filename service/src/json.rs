//! JSON responses.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;

/// A value as the JSON of an answer. It ends in a line feed, so that a shell's prompt begins on a line of its own.
#[derive(Debug, Clone, Copy)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match line(&self.0) {
            Ok(line) => ([(header::CONTENT_TYPE, "application/json")], line).into_response(),
            Err(error) => {
                tracing::error!(%error, "an answer has no JSON form");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

fn line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_one_line() {
        let response = Json(serde_json::json!({ "a": "b\n" })).into_response();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let body = to_bytes(response.into_body(), 100).await.expect("it is there");
        assert_eq!(&body[..], b"{\"a\":\"b\\n\"}\n");
    }

    #[test]
    fn what_has_no_json_form_is_an_error_of_the_server() {
        let keys_that_are_no_text = std::collections::BTreeMap::from([((1, 2), 3)]);
        assert_eq!(Json(keys_that_are_no_text).into_response().status(), StatusCode::INTERNAL_SERVER_ERROR);
    }
}
