//! PostgreSQL as the store, with the real services. Each test has a server of its own.

use std::{collections::BTreeMap, time::Duration};

use proto::{Filter, TailEvent, TailQuery, Transport};
use rand::{SeedableRng, rngs::StdRng};
use rig::Database;
use serde_json::json;
use tests::{
    SOON, process,
    rabbitmq::VirtualHost,
    stack::{Stack, transport_settings},
    torture::{Trial, lone::Lone},
};
use transport::grpc::{Streams, Tailed};
use uuid::Uuid;

/// The same entries and waits in every run; `make torture` takes others.
const SEED: u64 = 1;

#[tokio::test]
async fn nothing_that_was_answered_is_lost_when_the_database_is_killed() -> anyhow::Result<()> {
    let trial = Trial::PostgresKilled;
    let report = trial.run(trial.short_rounds(), SEED, |_| {}).await?;
    println!("{trial}: {}", report.figures);
    assert!(report.broken.is_empty(), "{}", report.broken.join("; "));
    assert!(report.accepted > 100, "{}", report.figures);
    Ok(())
}

#[tokio::test]
async fn four_loggers_of_one_database_have_tails_that_see_each_entry_once_in_one_order() -> anyhow::Result<()>
{
    const LOGGERS: usize = 4;
    const WRITERS: usize = 64;
    const TAILS: usize = 3;
    const ENTRIES: u64 = 500;
    let database = Database::start().await?;
    let settings = BTreeMap::from([("LOGGER_STORE", database.url().to_owned())]);
    let (mut loggers, mut dirs) = (Vec::new(), Vec::new());
    for _ in 0..LOGGERS {
        let dir = tempfile::tempdir()?;
        loggers.push(Lone::start(&settings, dir.path()).await?);
        dirs.push(dir);
    }
    let all = TailQuery { filter: Filter::default(), after: Some(proto::Cursor::after(0)), max_lag: None };
    let streams: Vec<_> =
        loggers.iter().map(|logger| Streams::new(&transport_settings(logger, SOON))).collect();
    let mut tails: Vec<_> = streams.iter().take(TAILS).map(|stream| stream.tail(all.clone())).collect();
    let mut random = StdRng::seed_from_u64(SEED);
    let loads: Vec<_> = loggers.iter().map(|logger| logger.load(WRITERS / LOGGERS, &mut random)).collect();
    for load in &loads {
        load.goes_on(ENTRIES).await?;
    }
    for load in loads {
        load.stop().await?;
    }
    // Newest first.
    let mut stored: Vec<_> = loggers[0].all_stored().await?.into_iter().map(|entry| entry.id).collect();
    stored.reverse();
    assert!(stored.len() as u64 >= LOGGERS as u64 * ENTRIES, "all have stored theirs: {}", stored.len());
    for tail in &mut tails {
        let mut seen: Vec<Uuid> = Vec::new();
        while seen.len() < stored.len() {
            let told = tokio::time::timeout(SOON, tail.next()).await?;
            match told.expect("it goes on")? {
                Tailed::Event(TailEvent::Entry(entry), _) => seen.push(entry.id),
                Tailed::Event(TailEvent::Missed(missed), _) => panic!("{missed} entries are missed"),
                Tailed::Event(TailEvent::Reached, _) | Tailed::Lost(_) => {}
            }
        }
        assert!(seen == stored, "it sees each once, in the order of storing");
    }
    Ok(())
}

#[tokio::test]
async fn the_password_of_the_database_is_shown_nowhere() -> anyhow::Result<()> {
    let mut database = Database::start().await?;
    let password = database.url().split([':', '@']).nth(2).expect("a password").to_owned();
    let url = database.url().to_owned();
    let stack = Stack::start_on(VirtualHost::create().await, &[("LOGGER_STORE", &url)]).await;
    let entry = json!({ "name": "event", "data": "text" });
    assert_eq!(stack.log(Transport::Http, &entry).await.outcome(), "stored");
    let status = stack.get("/status").await;
    assert_eq!(status.body["data"]["logger"]["store"], "postgres", "{}", status.body);
    let mut said = status.body.to_string();
    for path in ["/readyz", "/metrics"] {
        said += &reqwest::get(format!("http://{}{path}", stack.logger_at.http)).await?.text().await?;
    }
    assert!(said.contains(r#"logger_store_info{kind="postgres"} 1"#), "{said}");
    assert!(said.contains(r#""store_kind":"postgres""#), "{said}");
    said += &output(&["--reset-times"], &url).await?;
    assert!(said.contains("for SQLite"), "{said}");
    database.stop().await?;
    said += &stack.log(Transport::Http, &entry).await.body.to_string();
    said += &stack.logger.log();
    assert!(said.contains("postgres://127.0.0.1:") || said.contains("database"), "the log speaks of it");
    for (value, argument) in [
        (url.clone(), "--help"),
        (url.clone(), "--reset-times"),
        (format!("{url}?sslmode=prefer"), "--reset-times"),
        (url.replace("postgres:", "postgers:"), "--reset-times"),
    ] {
        said += &output(&[argument], &value).await?;
    }
    assert!(said.contains("LOGGER_STORE_FILE") && said.contains("nothing falls back"), "{said}");
    assert!(!said.contains(&password), "{said}");
    Ok(())
}

#[tokio::test]
async fn the_url_may_be_in_a_file_that_only_its_owner_may_read() -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let database = Database::start().await?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("store-url");
    std::fs::write(&file, format!("{}\n", database.url()))?;
    let settings = BTreeMap::from([("LOGGER_STORE_FILE", file.display().to_string())]);
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644))?;
    let mut refused = process::start("logger", &settings, dir.path());
    assert_eq!(refused.ended().await?.code(), Some(1), "{}", refused.log());
    assert!(
        refused.log().contains("LOGGER_STORE_FILE") && refused.log().contains("chmod 600"),
        "{}",
        refused.log()
    );
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600))?;
    let lone = Lone::start(&settings, dir.path()).await?;
    lone.says(Ok(())).await
}

/// What a logger says with this store and these arguments, until it ends.
async fn output(arguments: &[&str], store: &str) -> anyhow::Result<String> {
    let dir = tempfile::tempdir()?;
    let settings = BTreeMap::from([("LOGGER_STORE", store.to_owned())]);
    let mut command = tokio::process::Command::new(tests::binaries::binary("logger"));
    command.args(arguments).env_clear().envs(&settings).current_dir(dir.path());
    let output = tokio::time::timeout(Duration::from_secs(30), command.output()).await??;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)))
}
