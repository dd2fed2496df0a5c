//! The words of `fourwire dead`.

use clap::{ArgGroup, Args, Subcommand};

use super::number;

pub(super) const DEAD_EXAMPLES: &str = "\
Examples:
  fourwire dead list
  fourwire dead show 01a1fc81-0c09-763f-8df2-a41011d222e4
  fourwire dead retry 01a1fc81-0c09-763f-8df2-a41011d222e4
  fourwire dead retry --all
  fourwire dead drop --all --yes

A dead letter is a message that can never be stored as it is: it is not an entry (bad_json, bad_field, invalid_entry, \
too_large), its id is stored with other content (conflict), or it was delivered more than 20 times without being stored \
(delivery_limit). Retry it once the cause is fixed: a retry publishes it unchanged, with its properties, and removes it only \
after RabbitMQ has confirmed that. If it still cannot be stored, it is dead-lettered again.

Its id is that of the message, or else that in its body, or else one derived from it. RABBITMQ_QUEUE names the queue whose \
dead letters are meant.";

/// Most dead letters that are looked at: RabbitMQ holds them meanwhile.
const MOST: u64 = 100_000;

/// See the command.
#[derive(Debug, Args)]
pub struct Dead {
    /// What to do with them.
    #[command(subcommand)]
    pub what: What,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
pub enum What {
    /// List dead letters, oldest first: id, reason, age, size
    #[command(override_usage = "fourwire dead list [OPTIONS]")]
    List {
        /// Maximum number of dead letters
        #[arg(long, default_value_t = 100, allow_negative_numbers = true, value_parser = number(1..=MOST))]
        limit: u64,

        /// Print each as a line of JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one with its properties and body
    #[command(override_usage = "fourwire dead show [OPTIONS] <ID>")]
    Show {
        /// Its id, as listed
        id: String,

        /// Print only its body, unchanged
        #[arg(long)]
        body: bool,
    },
    /// Put them back into the queue unchanged, and remove each once RabbitMQ has confirmed it
    #[command(override_usage = "fourwire dead retry [OPTIONS] <ID>...")]
    Retry(Which),
    /// Delete them permanently
    #[command(override_usage = "fourwire dead drop [OPTIONS] --yes <ID>...")]
    Drop {
        /// Which.
        #[command(flatten)]
        which: Which,

        /// Confirm the deletion
        #[arg(long)]
        yes: bool,
    },
}

/// Which dead letters.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).args(["ids", "all"]))]
pub struct Which {
    /// Their ids, as listed
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,

    /// All that are in the queue now
    #[arg(long)]
    pub all: bool,
}
