//! A sentence of a lecture, and what is said of it.

use serde::{Deserialize, Serialize};

use super::{Figures, Language};

/// A sentence of a lecture that is measured.
#[derive(Debug)]
pub struct Claim {
    /// Its number, the same for good; those that are opinion or history have the others.
    pub id: u8,
    /// What it is about, in a few words of English and of Russian.
    pub topic: (&'static str, &'static str),
    /// Its words, of which `…` leaves out some; two sentences where the lectures contradict each other.
    pub quotes: &'static [(Lecture, &'static str)],
    /// The same in English.
    pub quotes_en: &'static [&'static str],
    /// What it takes to judge it.
    pub asks: &'static [Ask],
    /// Makes the verdict of the figures; `None` if they are not there.
    pub rule: fn(&Figures, Language) -> Option<Finding>,
    /// The lab that shows it.
    pub lab: Option<u8>,
    /// The files of the repository to read, and commands to try.
    pub look: &'static [&'static str],
}

/// One of the two lectures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lecture {
    /// What RPC and gRPC are.
    RpcGrpc,
    /// The ways in which services talk.
    WaysToTalk,
}

impl Lecture {
    /// Its number in the course.
    pub const fn number(self) -> &'static str {
        match self {
            Lecture::RpcGrpc => "000",
            Lecture::WaysToTalk => "001",
        }
    }

    /// Where its text is.
    pub const fn file(self) -> &'static str {
        match self {
            Lecture::RpcGrpc => "course/lectures/000-rpc-grpc.ru.md",
            Lecture::WaysToTalk => "course/lectures/001-ways-to-talk.ru.md",
        }
    }
}

/// An experiment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ask {
    /// Throughput, latency and CPU time by transport, payload and concurrency.
    Grid,
    /// The calls of gRPC side by side.
    Streams,
    /// What passes on each wire, by `fourwire explain`.
    Wires,
    /// Calls of our own clients: in the process and remote, without an answer, in parallel, on new connections.
    Calls,
    /// Encoding, other clients' fields, and what types refuse.
    Formats,
    /// Queues, and services that are down.
    Queues,
    /// Clients in Python.
    Languages,
    /// Lines of code of each transport.
    Lines,
    /// `fourwire load`.
    Load,
    /// The shop.
    Shop,
}

/// What is said of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is so.
    Supported,
    /// It is not.
    Refuted,
    /// It is so in some cells, which are named.
    Depends,
    /// One half of it is so.
    HalfTrue,
    /// The interval is not clear, or what it takes is not there.
    NotShown,
}

impl Verdict {
    /// Its words.
    pub const fn word(self, language: Language) -> &'static str {
        match (self, language) {
            (Verdict::Supported, Language::English) => "supported",
            (Verdict::Supported, Language::Russian) => "подтверждается",
            (Verdict::Refuted, Language::English) => "refuted",
            (Verdict::Refuted, Language::Russian) => "опровергается",
            (Verdict::Depends, Language::English) => "depends",
            (Verdict::Depends, Language::Russian) => "зависит от условий",
            (Verdict::HalfTrue, Language::English) => "half true",
            (Verdict::HalfTrue, Language::Russian) => "верно наполовину",
            (Verdict::NotShown, Language::English) => "not shown by this run",
            (Verdict::NotShown, Language::Russian) => "в этом прогоне не показано",
        }
    }
}

/// What a rule makes of the figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The verdict.
    pub verdict: Verdict,
    /// The figures that it rests on, in words.
    pub text: String,
}

impl Finding {
    /// One of this verdict, in the words of the language.
    pub fn new(verdict: Verdict, text: String) -> Self {
        Finding { verdict, text }
    }
}
