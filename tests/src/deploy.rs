//! What deploys the services names settings: each must exist, since a misspelt variable is as unset.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use clap::CommandFactory;

/// What sets variables of our services.
const FILES: [&str; 12] = [
    "deploy/compose.yaml",
    "deploy/cluster/compose.yaml",
    "deploy/swarm.yaml",
    "deploy/docker/Dockerfile",
    "deploy/kubernetes/broker.yaml",
    "deploy/kubernetes/kustomization.yaml",
    "deploy/kubernetes/listener.yaml",
    "deploy/kubernetes/logger.yaml",
    "deploy/systemd/fourwire-broker.service",
    "deploy/systemd/fourwire-listener.service",
    "deploy/systemd/fourwire-logger.service",
    ".env.example",
];

/// What the names of our settings begin with.
const PREFIXES: [&str; 6] = ["BROKER_", "LOGGER_", "LISTENER_", "AMQP_", "ALLOW_", "LOG_"];

#[test]
fn every_setting_that_a_deployment_names_exists() {
    let known = settings();
    let mut unknown = Vec::new();
    for file in FILES {
        let text = read(file);
        let named = words(&text).filter(|word| PREFIXES.iter().any(|prefix| word.starts_with(prefix)));
        unknown.extend(named.filter(|word| !known.contains_key(*word)).map(|word| format!("{file}: {word}")));
    }
    assert!(unknown.is_empty(), "no service has these settings:\n{}", unknown.join("\n"));
}

#[test]
fn the_example_of_an_environment_has_what_exists_and_its_defaults() {
    let (known, compose, shop) = (settings(), read("deploy/compose.yaml"), read("course/shop/src/config.rs"));
    let mut seen = BTreeSet::new();
    for line in read(".env.example").lines() {
        let Some((name, value)) = line.strip_prefix('#').and_then(|line| line.split_once('=')) else {
            let comment = line.is_empty() || line == "#" || line.starts_with("# ");
            assert!(comment, "neither a comment nor a setting: {line}");
            continue;
        };
        if name.contains(' ') {
            continue;
        }
        assert!(seen.insert(name.to_owned()), "{name} is there twice");
        let in_compose = compose.contains(&format!("${{{name}:-{value}}}"));
        let in_shop = shop.contains(&format!("pub {}: ", name.to_lowercase()));
        let default = known.get(name).map(|default| default.as_deref() == Some(value) || default.is_none());
        assert!(
            in_compose || in_shop || default == Some(true),
            "{name}: no such setting, or not its default"
        );
    }
    assert!(seen.len() > 15, "{seen:?}");
}

#[test]
fn every_variable_that_compose_takes_is_in_the_example() {
    let example = read(".env.example");
    let compose = read("deploy/compose.yaml");
    let taken = compose.split("${").skip(1).filter_map(|rest| rest.split_once(':')).map(|(name, _)| name);
    let missing: Vec<&str> = taken.filter(|name| !example.contains(&format!("\n#{name}="))).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_words_of_a_file_are_its_names_of_variables() {
    assert!(words("a: ${BROKER_KEY_RATE:-0}, \"LOG_FORMAT=json\"").eq(["BROKER_KEY_RATE", "LOG_FORMAT"]));
    assert!(settings().contains_key("AMQP_URL_FILE"));
}

/// The settings of all services by their variables, each with its default if it has one.
fn settings() -> BTreeMap<String, Option<String>> {
    let commands = [broker::Config::command(), logger::Config::command(), listener::Config::command()];
    let arguments = commands.iter().flat_map(clap::Command::get_arguments);
    let named = arguments.filter_map(|argument| Some((argument.get_env()?, argument.get_default_values())));
    named
        .map(|(name, defaults)| {
            let default = defaults.first().filter(|value| !value.is_empty());
            let default = default.map(|value| value.to_string_lossy().into_owned());
            (name.to_string_lossy().into_owned(), default)
        })
        .collect()
}

/// The words in capitals that a text has, in order.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let is_of_a_name = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    text.split(move |letter| !is_of_a_name(letter)).filter(|word| word.contains('_') && word.len() > 3)
}

fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
    fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
