//! The words of `fourwire status`.

use clap::Args;

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  fourwire status
  fourwire status --json

It asks the logger over each direct transport whether it could store an entry now, and RabbitMQ how many messages are \
ready; a listener may hold more. It ends with 0 if all are up, and with 3 if not.";

/// See the command.
#[derive(Debug, Args)]
pub struct Status {
    /// Print it as a line of JSON
    #[arg(long)]
    pub json: bool,
}
