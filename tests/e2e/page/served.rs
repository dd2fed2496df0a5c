//! What the broker serves it with.

use reqwest::Method;
use tests::{client, stack::Stack};

use super::url;

#[tokio::test]
async fn each_file_has_its_type_and_the_policy_and_is_not_kept() {
    let stack = Stack::start_direct(&[]).await;
    let ask =
        async |path: &str| client().get(format!("{}{path}", url(&stack))).send().await.expect("an answer");
    let index = ask("").await.text().await.expect("text");
    let named = index.split('"').filter_map(|word| word.strip_prefix("/page/"));
    let files: Vec<String> = named.map(|name| format!("page/{name}")).collect();
    assert!(files.contains(&"page/main.js".to_owned()), "{index}");
    for path in files.iter().map(String::as_str).chain([""]) {
        let answer = ask(path).await;
        assert_eq!(answer.status(), 200, "{path}");
        let header = |name: &str| answer.headers()[name].to_str().expect("text");
        let expected = match path.rsplit('.').next() {
            Some("js") => "text/javascript; charset=utf-8",
            Some("css") => "text/css; charset=utf-8",
            Some("svg") => "image/svg+xml",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(header("content-type"), expected, "{path}");
        let policy = header("content-security-policy");
        for rule in ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"] {
            assert!(policy.contains(rule), "{policy}");
        }
        assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!(header("cache-control"), "no-cache");
    }
}

#[tokio::test]
async fn what_is_no_file_of_it_is_not_found() {
    let stack = Stack::start_direct(&[]).await;
    for path in ["/page/", "/page/none.js", "/page/..%2f..%2fCargo.toml", "/page/%2e%2e/src/lib.rs"] {
        let answer = stack.get(path).await;
        assert!(matches!(answer.status.as_u16(), 400 | 404), "{path}: {}", answer.status);
        assert_eq!(answer.body["error"], true, "{path}: {}", answer.body);
    }
    let posted = client().request(Method::POST, format!("{}page/main.js", url(&stack)));
    assert_eq!(stack.ask(posted).await.code(), "method_not_allowed");
}

#[tokio::test]
async fn it_may_send_to_the_broker_that_it_came_from_whatever_its_address() {
    let stack = Stack::start_direct(&[]).await;
    let send = |origin: &str, host: &str| {
        let body = r#"{"action":"echo","log":{"name":"event","data":""}}"#;
        let request = client().post(format!("{}handle", url(&stack))).body(body);
        stack.ask(request.header("Origin", origin).header("Host", host))
    };
    for address in ["192.168.1.7:8080", "[fd00::7]:8080", "10.0.0.1"] {
        assert_eq!(send(&format!("http://{address}"), address).await.status, 202, "{address}");
    }
    for (origin, host) in [
        ("http://192.168.1.7:3000", "192.168.1.7:8080"),
        ("http://192.168.1.8", "192.168.1.7"),
        // A name may be made to lead here.
        ("http://evil.example:8080", "evil.example:8080"),
    ] {
        let answer = send(origin, host).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "forbidden_origin"), "{origin}");
    }
}
