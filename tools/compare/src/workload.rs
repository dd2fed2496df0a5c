//! What is asked of the system, and what can become of it: the words that every part of a measurement shares.

use proto::Transport;
use rig::ledger::Fate;
use serde::{Deserialize, Serialize};

/// The cell of the grid by which rates are chosen and prices told: the course's own entries have 17 bytes.
pub const BASE_PAYLOAD: usize = 64;

/// The callers of that cell.
pub const BASE_CALLERS: usize = 64;

/// What is asked of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    /// Only to decode, check and answer: the baseline.
    Echo,
    /// To deliver over a transport.
    #[serde(untagged)]
    Transport(Transport),
}

impl Subject {
    /// All transports, and the baseline at the end.
    pub const ALL: [Subject; Transport::ALL.len() + 1] = {
        let mut all = [Subject::Echo; Transport::ALL.len() + 1];
        let mut at = 0;
        while at < Transport::ALL.len() {
            all[at] = Subject::Transport(Transport::ALL[at]);
            at += 1;
        }
        all
    };

    /// Its word, as in the tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Subject::Transport(transport) => transport.as_str(),
            Subject::Echo => "echo",
        }
    }

    /// What an accepted entry is promised; rows of different promises are not ranked against each other.
    pub const fn promise(self) -> &'static str {
        match self {
            Subject::Transport(Transport::Rabbitmq) => "queued, confirmed and persistent",
            Subject::Transport(Transport::Http | Transport::Rpc | Transport::Grpc) => "stored and synced",
            Subject::Echo => "nothing",
        }
    }
}

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "loop", rename_all = "lowercase")]
pub enum Shape {
    /// Each of so many callers sends the next when it has the answer to the last.
    Closed {
        /// Callers, each with a connection.
        callers: usize,
    },
    /// So many requests a second are due, at random moments as independent callers have them.
    Open {
        /// Requests per second.
        rate: f64,
    },
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ending {
    /// 202.
    Accepted,
    /// A 4xx: nothing was stored.
    Rejected,
    /// 503: certainly not stored.
    Refused,
    /// 504, or another status: it may be stored.
    Unknown,
    /// The connection broke, or no answer came: it may be stored.
    Broken,
    /// It was due, and no caller was free to send it until it was too late.
    Unsent,
}

impl Ending {
    /// All of them.
    pub const ALL: [Ending; 6] = [
        Ending::Accepted,
        Ending::Rejected,
        Ending::Refused,
        Ending::Unknown,
        Ending::Broken,
        Ending::Unsent,
    ];

    /// What an answer of this status says.
    pub const fn of_status(status: u16) -> Self {
        match status {
            202 => Ending::Accepted,
            400..=499 => Ending::Rejected,
            503 => Ending::Refused,
            _ => Ending::Unknown,
        }
    }

    /// What is known of an entry of such a request.
    pub const fn fate(self) -> Fate {
        match self {
            Ending::Accepted => Fate::Accepted,
            Ending::Rejected | Ending::Refused | Ending::Unsent => Fate::Refused,
            Ending::Unknown | Ending::Broken => Fate::Unknown,
        }
    }
}
