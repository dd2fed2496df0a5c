//! The examples in other languages do what the API asks: they are run as a reader would run them.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use futures_util::future::join_all;
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto};
use proto::Transport;
use reqwest::{Client, Method};
use serde_json::Value;
use tempfile::TempDir;
use tests::{SOON, client, stack::Stack, tls};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines},
    process::{Child, ChildStderr, Command},
    time::timeout,
};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A program, and the arguments that come first.
#[derive(Debug, Clone)]
struct Example {
    words: Vec<PathBuf>,
    modules: PathBuf,
}

impl Example {
    fn of(program: &str, file: &str) -> Self {
        Example { words: vec![program.into(), root().join(file)], modules: PathBuf::new() }
    }

    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).args(arguments).env("PYTHONPATH", &self.modules);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let process = command.spawn();
        let mut process =
            process.unwrap_or_else(|error| panic!("{error}: `sudo deploy/tools.sh` installs {self:?}"));
        let said = BufReader::new(process.stderr.take().expect("it is piped")).lines();
        Running { process, said, heard: String::new() }
    }

    /// What it prints, if it ends well; what it complains of, if not.
    async fn run(&self, arguments: &[&str]) -> Result<String, String> {
        self.start(arguments).ended().await
    }
}

struct Running {
    process: Child,
    said: Lines<BufReader<ChildStderr>>,
    heard: String,
}

impl Running {
    /// Waits until it says this.
    async fn says(&mut self, words: &str) {
        while !self.heard.contains(words) {
            let line = timeout(3 * SOON, self.said.next_line()).await.expect("it goes on").expect("text");
            let line = line.unwrap_or_else(|| panic!("it ended without {words:?}:\n{}", self.heard));
            self.heard += &format!("{line}\n");
        }
    }

    async fn ended(mut self) -> Result<String, String> {
        let ended = async {
            let mut printed = String::new();
            let mut stdout = self.process.stdout.take().expect("it is piped");
            stdout.read_to_string(&mut printed).await.expect("text");
            while let Some(line) = self.said.next_line().await.expect("text") {
                self.heard += &format!("{line}\n");
            }
            let status = self.process.wait().await.expect("it was started");
            if status.success() { Ok(printed.trim().to_owned()) } else { Err(self.heard) }
        };
        timeout(3 * SOON, ended).await.expect("it ends")
    }
}

async fn go(file: &str, into: &TempDir) -> Example {
    let program = into.path().join("example");
    let path = format!("{}:/usr/share/gocode", into.path().display());
    let mut build = Command::new("go");
    build.arg("build").arg("-o").arg(&program).arg(root().join(file));
    build.env("GO111MODULE", "off").env("GOPATH", path).env("GOFLAGS", "").kill_on_drop(true);
    let built = timeout(20 * SOON, build.output()).await.expect("in time");
    let built = built.expect("`sudo deploy/tools.sh` installs Go");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Example { words: vec![program], modules: PathBuf::new() }
}

/// Makes the modules of logs.proto.
async fn protoc(arguments: &[String]) {
    let protos = root().join("proto/proto");
    let mut protoc = Command::new("protoc");
    protoc.arg("-I").arg(&protos).args(arguments).arg("logs.proto").current_dir(&protos);
    let made = protoc.output().await.expect("`sudo deploy/tools.sh` installs protoc");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[tokio::test]
async fn those_for_http_send_over_each_transport_and_send_again_what_may_be_stored_yet() {
    if tls::directory().is_some() {
        return; // they have neither certificate nor key
    }
    let mut stack = Stack::start_with(&[("BROKER_DEADLINE_MS", "1000")]).await;
    let url = format!("http://{}", stack.broker_at);
    let built = tempfile::tempdir().expect("a directory");
    let examples = [
        Example::of("python3", "examples/python/http_client.py"),
        Example::of("node", "examples/javascript/http_client.mjs"),
        go("examples/go/http/main.go", &built).await,
    ];
    for example in &examples {
        for transport in Transport::ALL {
            let printed =
                example.run(&[&url, transport.as_str(), "example", "text"]).await.expect("it is accepted");
            let [first, again] = [transport.promise().outcome(), transport.promise().repeated()];
            assert!([first.as_str(), again.as_str()].contains(&printed.as_str()), "{example:?}: {printed}");
        }
        let refused = example.run(&[&url, "http", "", "text"]).await.expect_err("an entry has a name");
        assert!(
            refused.contains("400: name is empty") && !refused.contains("trying"),
            "{example:?}: {refused}"
        );
    }
    let count = examples.len() * Transport::ALL.len();
    stored(&stack, count).await;

    stack.logger.kill().await.expect("it runs");
    let mut running = start_all(&examples, &url);
    join_all(running.iter_mut().map(|running| running.says("trying again"))).await;
    stack.start_logger().await.expect("it starts");
    accepted(running).await;
    stored(&stack, count + examples.len()).await;

    stack.logger.freeze().await.expect("it runs");
    let mut running = start_all(&examples, &url);
    join_all(running.iter_mut().map(|running| running.says("may or may not be stored"))).await;
    stack.logger.thaw().expect("it is frozen");
    accepted(running).await;
    stored(&stack, count + 2 * examples.len()).await;
}

fn start_all(examples: &[Example], url: &str) -> Vec<Running> {
    examples.iter().map(|example| example.start(&[url, "http", "example", "text"])).collect()
}

async fn accepted(running: Vec<Running>) {
    for printed in join_all(running.into_iter().map(Running::ended)).await {
        assert!(matches!(printed.as_deref(), Ok("stored" | "duplicate")), "{printed:?}");
    }
}

async fn stored(stack: &Stack, count: usize) {
    tests::eventually(&format!("{count} are stored"), async || {
        (stack.all_stored().await.len() == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn those_for_grpc_store_an_entry_and_wait_for_a_logger_that_is_down() {
    if tls::directory().is_some() {
        return; // they have no certificate
    }
    let mut stack = Stack::start_direct(&[]).await;
    let (modules, packages) =
        (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    let (python, sources) = (modules.path().display().to_string(), packages.path().join("src"));
    std::fs::create_dir(&sources).expect("a directory");
    let plugin = "--plugin=protoc-gen-grpc_python=/usr/bin/grpc_python_plugin".to_owned();
    protoc(&[plugin, format!("--python_out={python}"), format!("--grpc_python_out={python}")]).await;
    let package = "opt=Mlogs.proto=example.org/logs";
    let out = sources.display();
    let go_arguments = [format!("--go_out={out}"), format!("--go-grpc_out={out}")];
    protoc(&[&go_arguments[..], &[format!("--go_{package}"), format!("--go-grpc_{package}")]].concat()).await;
    // Debian's own Python has Debian's gRPC.
    let by_python = Example::of("/usr/bin/python3", "examples/python/grpc_client.py");
    let examples = [
        Example { modules: modules.path().to_owned(), ..by_python },
        go("examples/go/grpc/main.go", &packages).await,
    ];
    let address = stack.logger_at.grpc.to_string();
    for example in &examples {
        assert_eq!(example.run(&[&address, "example", "text"]).await.as_deref(), Ok("stored"));
        let refused = example.run(&[&address, "", "text"]).await.expect_err("an entry has a name");
        assert!(refused.contains("name is empty") && !refused.contains("trying"), "{example:?}: {refused}");
    }
    stack.logger.kill().await.expect("it runs");
    let running: Vec<_> =
        examples.iter().map(|example| example.start(&[&address, "example", "text"])).collect();
    stack.start_logger().await.expect("it starts");
    accepted(running).await;
    stored(&stack, 2 * examples.len()).await;
}

#[tokio::test]
async fn each_request_of_the_http_file_is_answered_as_its_title_says() {
    let stack = Stack::start_with(&[("BROKER_OTLP_HTTP_LISTEN", "127.0.0.1:0")]).await;
    let log = stack.broker.log();
    let (_, rest) = log.split_once("otlp_http=").expect("it says where it listens");
    let otlp: String = rest.chars().take_while(|own| own.is_ascii_digit() || ".:".contains(*own)).collect();
    let text = std::fs::read_to_string(root().join("examples/fourwire.http")).expect("the file");
    let text = text.replace("{{broker}}", &format!("{}://{}", tls::scheme(), stack.broker_at));
    let text = text.replace("{{otlp}}", &format!("{}://{otlp}", tls::scheme()));
    let mut answers = Vec::new();
    for request in text.split("\n### ").skip(1) {
        let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
        let mut lines = head.lines().skip(1);
        let (method, url) = lines.next().and_then(|line| line.split_once(' ')).expect("a request line");
        let request =
            client().request(method.parse::<Method>().expect("a method"), url).body(body.trim().to_owned());
        let headers = lines.filter_map(|line| line.split_once(": "));
        let answer =
            stack.ask(headers.fold(request, |request, (name, value)| request.header(name, value))).await;
        answers.push((answer.status.as_u16(), answer.outcome().to_owned()));
    }
    let expected = [(202, "stored"), (202, "duplicate"), (202, ""), (400, ""), (200, ""), (200, "")];
    assert_eq!(answers, expected.map(|(status, outcome)| (status, outcome.to_owned())));
}

#[tokio::test]
async fn the_line_for_grpcurl_is_a_request_that_reflection_describes() {
    if tls::directory().is_some() {
        return; // the line is for a port without TLS
    }
    let stack = Stack::start_direct(&[]).await;
    let page = std::fs::read_to_string(root().join("examples/README.md")).expect("the page");
    let line = page.lines().find(|line| line.starts_with("    grpcurl ")).expect("the line");
    let [_, json, rest] = line.split('\'').collect::<Vec<_>>()[..] else { panic!("{line}") };
    let request: Value = serde_json::from_str(json).expect("JSON");
    let (service, method) =
        rest.split_whitespace().last().and_then(|call| call.split_once('/')).expect("service and method");
    let file = described(&stack, service).await;
    let found = file.service.iter().find(|own| format!("{}.{}", file.package(), own.name()) == service);
    let found = found.and_then(|own| own.method.iter().find(|own| own.name() == method)).expect("the method");
    assert!(matches(&file, found.input_type(), &request), "{request}");
    assert!(!matches(&file, found.input_type(), &serde_json::json!({ "log_entri": {} })), "it can fail");
}

/// The file of a service, by the reflection of the logger.
async fn described(stack: &Stack, service: &str) -> FileDescriptorProto {
    #[derive(prost::Message)]
    struct Ask {
        #[prost(string, tag = "4")]
        file_containing_symbol: String,
    }
    #[derive(prost::Message)]
    struct Files {
        #[prost(bytes = "vec", repeated, tag = "1")]
        files: Vec<Vec<u8>>,
    }
    #[derive(prost::Message)]
    struct Told {
        #[prost(message, optional, tag = "4")]
        files: Option<Files>,
    }
    let ask = Ask { file_containing_symbol: service.to_owned() }.encode_to_vec();
    let length = u32::try_from(ask.len()).expect("small");
    let url =
        format!("http://{}/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", stack.logger_at.grpc);
    let http2 = Client::builder().no_proxy().timeout(SOON).http2_prior_knowledge().build().expect("a client");
    let call = http2.post(url).header("content-type", "application/grpc").header("te", "trailers");
    let body = [&[0][..], &length.to_be_bytes(), &ask].concat();
    let told = call.body(body).send().await.expect("an answer").bytes().await.expect("whole");
    let files = Told::decode(&told[5..]).expect("an answer").files.expect("files").files;
    let files = files.iter().map(|file| FileDescriptorProto::decode(&file[..]).expect("a file"));
    files.into_iter().find(|file| file.package() == "logs").expect("logs.proto")
}

/// Whether a JSON object is of a message of this file.
fn matches(file: &FileDescriptorProto, message: &str, json: &Value) -> bool {
    let own =
        |message: &&DescriptorProto, name: &str| format!(".{}.{}", file.package(), message.name()) == name;
    let described = file.message_type.iter().find(|found| own(found, message)).expect("the message");
    json.as_object().is_some_and(|fields| {
        fields.iter().all(|(name, value)| {
            let field =
                described.field.iter().find(|field| field.name() == name || field.json_name() == name);
            field.is_some_and(|field| match field.type_name() {
                "" => value.is_string(),
                inner => matches(file, inner, value),
            })
        })
    })
}
