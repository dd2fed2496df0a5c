//! A real browser without a window: Chromium, driven over WebDriver by its own chromedriver.
//!
//! The protocol is JSON over HTTP, so a function that posts is the whole client. Of the two libraries for it, fantoccini
//! brings a crate whose licence deny.toml does not let in, and thirtyfour changes the order of `serde_json`'s fields for
//! everything that is built along with it.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use procfs::{
    net::TcpState,
    process::{FDInfo, FDTarget, Process},
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{client_with, eventually};

/// What a key is called in WebDriver.
pub mod key {
    /// To the next control.
    pub const TAB: &str = "\u{e004}";
    /// Held with others: here for the control before.
    pub const SHIFT: &str = "\u{e008}";
    /// Presses what has the focus.
    pub const ENTER: &str = "\u{e007}";
    /// Chooses the next of several.
    pub const RIGHT: &str = "\u{e014}";
}

/// The name of an element in WebDriver's answers.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one page. It and its driver are killed when dropped.
#[derive(Debug)]
pub struct Browser {
    driver: Driver,
    session: String,
    client: Client,
}

/// How a screen is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Screen {
    /// In CSS pixels.
    pub width: u32,
    /// In CSS pixels.
    pub height: u32,
    /// Whether its user likes it dark.
    pub dark: bool,
}

impl Browser {
    /// Starts one whose user reads `language`, such as `en-US`.
    ///
    /// # Panics
    /// As everything here, if the browser does not do what it is told.
    pub async fn start(language: &str) -> Self {
        let driver = Driver::start();
        let port = eventually("chromedriver is ready", async || driver.port()).await;
        let client = client_with(None);
        let profile = format!("--user-data-dir={}", driver.profile().display());
        let arguments = [
            "--headless=new",
            // Containers and root have none; it shows nothing but our own page.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-background-networking",
            "--disable-component-update",
            "--no-first-run",
            profile.as_str(),
        ];
        let capabilities = json!({ "alwaysMatch": {
            "goog:chromeOptions": { "args": arguments, "prefs": { "intl.accept_languages": language } },
            "goog:loggingPrefs": { "browser": "ALL" },
            "acceptInsecureCerts": true,
        } });
        let mut browser = Browser { driver, session: format!("http://127.0.0.1:{port}/session"), client };
        let session = browser.post("", json!({ "capabilities": capabilities })).await;
        let id = session["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {session}"));
        browser.session = format!("{}/{id}", browser.session);
        browser.see(Screen { width: 1280, height: 900, dark: false }).await;
        browser
    }

    /// Goes to an address, and waits until the page has loaded.
    pub async fn open(&self, url: &str) {
        self.post("/url", json!({ "url": url })).await;
    }

    /// Runs a script in the page; it returns something, or a promise of it.
    pub async fn run(&self, script: &str, arguments: Value) -> Value {
        self.post("/execute/sync", json!({ "script": script, "args": arguments })).await
    }

    /// What a script's expression is.
    pub async fn value(&self, expression: &str) -> Value {
        self.run(&format!("return {expression}"), json!([])).await
    }

    /// Waits until an expression is neither `false` nor nothing, as an empty text is.
    pub async fn eventually(&self, expression: &str) -> Value {
        let script = format!("try {{ return {expression} }} catch {{ return null }}");
        eventually(expression, async || {
            let value = self.run(&script, json!([])).await;
            (!matches!(value, Value::Null | Value::Bool(false)) && value != "").then_some(value)
        })
        .await
    }

    /// The text of the first element of a selector, as one reads it.
    pub async fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.innerText ?? null";
        let text = self.run(script, json!([selector])).await;
        text.as_str().unwrap_or_else(|| panic!("there is no {selector}")).to_owned()
    }

    /// Presses the first element of a selector with the mouse.
    pub async fn click(&self, selector: &str) {
        let element = self.element(selector).await;
        self.post(&format!("/element/{element}/click"), json!({})).await;
    }

    /// Types into a field, in place of what stands there.
    pub async fn write(&self, selector: &str, text: &str) {
        let element = self.element(selector).await;
        self.post(&format!("/element/{element}/clear"), json!({})).await;
        self.post(&format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    /// Presses keys, the ones before the last held down, wherever the focus is.
    pub async fn press(&self, keys: &[&str]) {
        let step = |kind: &str, key: &&str| json!({ "type": kind, "value": key });
        let down = keys.iter().map(|key| step("keyDown", key));
        let up = keys.iter().rev().map(|key| step("keyUp", key));
        let actions: Vec<Value> = down.chain(up).collect();
        self.post("/actions", json!({ "actions": [{ "type": "key", "id": "keys", "actions": actions }] }))
            .await;
    }

    /// Gives it another screen.
    pub async fn see(&self, screen: Screen) {
        let Screen { width, height, dark } = screen;
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.tell("Emulation.setDeviceMetricsOverride", metrics).await;
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.tell("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// Its user wants nothing to move.
    pub async fn prefers_still(&self) {
        let features = json!([{ "name": "prefers-reduced-motion", "value": "reduce" }]);
        self.tell("Emulation.setEmulatedMedia", json!({ "features": features })).await;
    }

    /// A picture of the whole page, in PNG.
    pub async fn picture(&self) -> Vec<u8> {
        use base64::{Engine, engine::general_purpose::STANDARD};
        let height = self.value("document.documentElement.scrollHeight").await;
        let width = self.value("innerWidth").await;
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let options = json!({ "captureBeyondViewport": true, "clip": clip });
        let picture = self.tell("Page.captureScreenshot", options).await;
        STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64")
    }

    /// What the browser has complained of since it was asked last, of scripts and policies. That an answer was no
    /// success, which it says too, is no complaint about the page.
    pub async fn complaints(&self) -> Vec<String> {
        let log = self.post("/se/log", json!({ "type": "browser" })).await;
        let told = log.as_array().expect("a log").iter();
        let told = told.filter(|line| line["source"] != "network" && line["level"] != "DEBUG");
        told.map(|line| format!("{} {}", line["source"], line["message"])).collect()
    }

    async fn element(&self, selector: &str) -> String {
        let found = self.post("/element", json!({ "using": "css selector", "value": selector })).await;
        found[ELEMENT].as_str().unwrap_or_else(|| panic!("there is no {selector}: {found}")).to_owned()
    }

    /// Says something in Chromium's own protocol, for which WebDriver has no word.
    async fn tell(&self, command: &str, parameters: Value) -> Value {
        self.post("/goog/cdp/execute", json!({ "cmd": command, "params": parameters })).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let request = self.client.request(Method::POST, format!("{}{path}", self.session)).json(&body);
        let answer =
            request.send().await.unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.driver.log()));
        let status = answer.status();
        let mut answer: Value = answer.json().await.expect("WebDriver speaks JSON");
        assert!(status.is_success(), "{path} {body}: {}", answer["value"]["message"]);
        answer["value"].take()
    }
}

/// chromedriver, and the browser that it starts, with a directory of their own.
#[derive(Debug)]
struct Driver {
    process: Child,
    dir: TempDir,
}

impl Driver {
    fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let log = File::create(dir.path().join("log")).expect("a file");
        let process = Command::new("chromedriver")
            // It takes a free one.
            .arg("--port=0")
            .env("HOME", dir.path())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(Stdio::null())
            .spawn();
        let process = process.expect("chromedriver is installed: `sudo deploy/tools.sh` does it");
        Driver { process, dir }
    }

    fn profile(&self) -> PathBuf {
        self.dir.path().join("profile")
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The port that it has taken, once it says that it is ready. Of the port it says 0 on a machine without IPv6.
    fn port(&self) -> Option<u16> {
        self.log().contains("was started successfully").then_some(())?;
        let process = Process::new(self.process.id().try_into().ok()?).ok()?;
        let its = |fd: FDInfo| if let FDTarget::Socket(inode) = fd.target { Some(inode) } else { None };
        let sockets: Vec<u64> = process.fd().ok()?.flatten().filter_map(its).collect();
        let mut all = process.tcp().ok()?.into_iter();
        let at = all.find(|socket| socket.state == TcpState::Listen && sockets.contains(&socket.inode))?;
        Some(at.local_address.port())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The driver first, so that it does not wonder where the browser is.
        let _ = self.process.kill();
        let _ = self.process.wait();
        for pid in running_with(&self.profile()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// The processes that have a directory among their arguments.
fn running_with(directory: &Path) -> Vec<i32> {
    let directory = directory.display().to_string();
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|process| process.file_name().to_str()?.parse().ok());
    let ours = |pid: &i32| {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(&directory)
    };
    pids.filter(ours).collect()
}
