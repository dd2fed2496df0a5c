//! The list of all trials.

use std::fmt;

use proto::Transport;
use strum::{EnumDiscriminants, VariantArray};

use super::{
    Tried, clock_leaps, confirm_ownership,
    control::{self, Control},
    disk_full, disk_was_full, duplicates, listener_restarted,
    log::{self, LogFault},
    nested_headers, overload, postgres_killed,
    power_loss::{self, Syncs},
    queue_deleted, rabbitmq_alarm, rabbitmq_killed, slow_clients, soak,
    store_files::{self, Happening},
    sync_order,
    under_load::{self, Breakage},
};

/// One way to break a promise, tried over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(name(Kind), vis(), derive(VariantArray))]
pub enum Trial {
    /// A part of the stack is broken again and again under load.
    UnderLoad(Breakage),
    /// A promise is broken on purpose, and the checker must notice.
    Control(Control),
    /// RabbitMQ is killed, stopped and frozen.
    RabbitmqKilled,
    /// PostgreSQL is killed while it is the store.
    PostgresKilled,
    /// RabbitMQ is short of memory, then of disk.
    RabbitmqAlarm,
    /// The queue in RabbitMQ is deleted.
    QueueDeleted,
    /// The listener is restarted while the store is full.
    ListenerRestarted,
    /// A message ends the listener at each delivery.
    NestedHeaders,
    /// RabbitMQ returns half of what is published.
    ConfirmOwnership,
    /// The power of the store's disk is cut.
    PowerLoss(Syncs),
    /// The order of the sync and the answer is read from a trace. A round is an entry.
    SyncOrder,
    /// The store's disk is filled and freed.
    DiskFull,
    /// The services' logs cannot be written.
    Log(LogFault),
    /// A logger whose small disk was full is started again, and makes room by itself where it may.
    DiskWasFull,
    /// Something happens to the store's files.
    StoreFiles(Happening),
    /// The logger's wall clock leaps, both ways.
    ClockLeaps,
    /// One transport gets more than the system can take. Its rounds are seconds.
    Overload(Transport),
    /// Each id is sent several times. Its rounds are thousands of ids.
    Duplicates,
    /// Hostile clients take up connections. Its rounds are hundreds of clients.
    SlowClients,
    /// A long time under load, with a fault in each round.
    Soak,
}

impl Trial {
    /// All of them, in the order of the variants; those that break a promise on purpose come last.
    pub fn all() -> Vec<Trial> {
        let mut all: Vec<Trial> = Kind::VARIANTS.iter().flat_map(|kind| kind.trials()).collect();
        all.sort_by_key(|trial| trial.is_control());
        all
    }

    /// Whether a promise is broken on purpose: what such a trial loses is not the system's.
    pub const fn is_control(self) -> bool {
        match self {
            Trial::Control(_) => true,
            Trial::PowerLoss(syncs) => syncs.is_control(),
            Trial::UnderLoad(_)
            | Trial::RabbitmqKilled
            | Trial::PostgresKilled
            | Trial::RabbitmqAlarm
            | Trial::QueueDeleted
            | Trial::ListenerRestarted
            | Trial::NestedHeaders
            | Trial::ConfirmOwnership
            | Trial::SyncOrder
            | Trial::DiskFull
            | Trial::Log(_)
            | Trial::DiskWasFull
            | Trial::StoreFiles(_)
            | Trial::ClockLeaps
            | Trial::Overload(_)
            | Trial::Duplicates
            | Trial::SlowClients
            | Trial::Soak => false,
        }
    }

    /// How many rounds `make torture` runs.
    pub const fn full_rounds(self) -> u32 {
        match self {
            Trial::UnderLoad(Breakage::LoggerKilled(_) | Breakage::BrokerKilled | Breakage::HopBroken(_)) => {
                50
            }
            Trial::UnderLoad(Breakage::ListenerKilled) | Trial::RabbitmqKilled => 40,
            Trial::UnderLoad(Breakage::Unbound) | Trial::PostgresKilled => 20,
            Trial::Control(_) => 5,
            Trial::RabbitmqAlarm => 24,
            Trial::QueueDeleted => 15,
            Trial::ListenerRestarted => 25,
            Trial::NestedHeaders => 3,
            Trial::ConfirmOwnership => 200,
            Trial::PowerLoss(Syncs::Full) => 200,
            Trial::PowerLoss(Syncs::Failing) => 50,
            Trial::PowerLoss(Syncs::Ignored | Syncs::Normal | Syncs::Off) => 20,
            Trial::SyncOrder => 1_000,
            Trial::DiskFull | Trial::ClockLeaps => 10,
            Trial::Log(_) => 30,
            Trial::DiskWasFull => 12,
            Trial::StoreFiles(_) => 20,
            Trial::UnderLoad(Breakage::Stopped) | Trial::Overload(_) => 60,
            Trial::Duplicates => 100,
            Trial::SlowClients => 10,
            Trial::Soak => 90,
        }
    }

    /// How many rounds `make test` runs: enough to break each thing once or twice.
    pub const fn short_rounds(self) -> u32 {
        match self {
            Trial::UnderLoad(_) | Trial::RabbitmqKilled | Trial::PostgresKilled => 3,
            Trial::Control(_) => 5,
            Trial::RabbitmqAlarm | Trial::QueueDeleted => 2,
            // The 21st loss of a delivery makes a dead letter of it.
            Trial::ListenerRestarted => 21,
            Trial::NestedHeaders => 1,
            Trial::ConfirmOwnership => 20,
            Trial::PowerLoss(Syncs::Full | Syncs::Failing) => 6,
            Trial::PowerLoss(Syncs::Ignored | Syncs::Normal | Syncs::Off) => 5,
            Trial::SyncOrder => 120,
            Trial::DiskFull | Trial::Log(_) => 3,
            Trial::DiskWasFull => 2,
            Trial::StoreFiles(Happening::Deleted) => 4,
            Trial::StoreFiles(_) | Trial::ClockLeaps => 2,
            Trial::Overload(_) | Trial::Duplicates | Trial::Soak => 2,
            Trial::SlowClients => 1,
        }
    }

    /// Runs it. `seed` makes the entries and the waits of another run again; `progress` is told of each round.
    pub async fn run(self, rounds: u32, seed: u64, progress: impl FnMut(u32)) -> Tried {
        match self {
            Trial::UnderLoad(breakage) => under_load::run(breakage, rounds, seed, progress).await,
            Trial::Control(control) => control::run(control, rounds, seed, progress).await,
            Trial::RabbitmqKilled => rabbitmq_killed::run(rounds, seed, progress).await,
            Trial::PostgresKilled => postgres_killed::run(rounds, seed, progress).await,
            Trial::RabbitmqAlarm => rabbitmq_alarm::run(rounds, seed, progress).await,
            Trial::QueueDeleted => queue_deleted::run(rounds, seed, progress).await,
            Trial::ListenerRestarted => listener_restarted::run(rounds, progress).await,
            Trial::NestedHeaders => nested_headers::run(rounds, progress).await,
            Trial::ConfirmOwnership => confirm_ownership::run(rounds, seed, progress).await,
            Trial::PowerLoss(syncs) => power_loss::run(syncs, rounds, seed, progress).await,
            Trial::SyncOrder => sync_order::run(rounds, seed, progress).await,
            Trial::DiskFull => disk_full::run(rounds, seed, progress).await,
            Trial::Log(fault) => log::run(fault, rounds, seed, progress).await,
            Trial::DiskWasFull => disk_was_full::run(rounds, seed, progress).await,
            Trial::StoreFiles(happening) => store_files::run(happening, rounds, seed, progress).await,
            Trial::ClockLeaps => clock_leaps::run(rounds, seed, progress).await,
            Trial::Overload(transport) => overload::run(transport, rounds, progress).await,
            Trial::Duplicates => duplicates::run(rounds, seed, progress).await,
            Trial::SlowClients => slow_clients::run(rounds, progress).await,
            Trial::Soak => soak::run(rounds, seed, progress).await,
        }
    }
}

impl Kind {
    fn trials(self) -> Vec<Trial> {
        match self {
            Kind::UnderLoad => Breakage::all().into_iter().map(Trial::UnderLoad).collect(),
            Kind::Control => each(Control::VARIANTS, Trial::Control),
            Kind::RabbitmqKilled => vec![Trial::RabbitmqKilled],
            Kind::PostgresKilled => vec![Trial::PostgresKilled],
            Kind::RabbitmqAlarm => vec![Trial::RabbitmqAlarm],
            Kind::QueueDeleted => vec![Trial::QueueDeleted],
            Kind::ListenerRestarted => vec![Trial::ListenerRestarted],
            Kind::NestedHeaders => vec![Trial::NestedHeaders],
            Kind::ConfirmOwnership => vec![Trial::ConfirmOwnership],
            Kind::PowerLoss => each(Syncs::VARIANTS, Trial::PowerLoss),
            Kind::SyncOrder => vec![Trial::SyncOrder],
            Kind::DiskFull => vec![Trial::DiskFull],
            Kind::Log => each(LogFault::VARIANTS, Trial::Log),
            Kind::DiskWasFull => vec![Trial::DiskWasFull],
            Kind::StoreFiles => each(Happening::VARIANTS, Trial::StoreFiles),
            Kind::ClockLeaps => vec![Trial::ClockLeaps],
            Kind::Overload => each(&Transport::ALL, Trial::Overload),
            Kind::Duplicates => vec![Trial::Duplicates],
            Kind::SlowClients => vec![Trial::SlowClients],
            Kind::Soak => vec![Trial::Soak],
        }
    }
}

fn each<T: Copy>(of: &[T], trial: impl Fn(T) -> Trial) -> Vec<Trial> {
    of.iter().copied().map(trial).collect()
}

impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trial::UnderLoad(breakage) => breakage.fmt(f),
            Trial::Control(control) => control.fmt(f),
            Trial::RabbitmqKilled => f.write_str("rabbitmq-killed"),
            Trial::PostgresKilled => f.write_str("postgres-killed"),
            Trial::RabbitmqAlarm => f.write_str("rabbitmq-alarm"),
            Trial::QueueDeleted => f.write_str("queue-deleted"),
            Trial::ListenerRestarted => f.write_str("listener-restarted"),
            Trial::NestedHeaders => f.write_str("nested-headers"),
            Trial::ConfirmOwnership => f.write_str("confirm-ownership"),
            Trial::PowerLoss(syncs) => syncs.fmt(f),
            Trial::SyncOrder => f.write_str("sync-order"),
            Trial::DiskFull => f.write_str("disk-full"),
            Trial::Log(fault) => fault.fmt(f),
            Trial::DiskWasFull => f.write_str("disk-was-full"),
            Trial::StoreFiles(happening) => happening.fmt(f),
            Trial::ClockLeaps => f.write_str("clock-leaps"),
            Trial::Overload(transport) => write!(f, "overload-{transport}"),
            Trial::Duplicates => f.write_str("duplicates"),
            Trial::SlowClients => f.write_str("slow-clients"),
            Trial::Soak => f.write_str("soak"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_trial_is_there_once_by_its_name_and_the_controls_come_last() {
        let trials = Trial::all();
        let names: BTreeSet<String> = trials.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), trials.len(), "{names:?}");
        for transport in Transport::ALL {
            assert!(names.contains(&format!("overload-{transport}")), "{transport}");
            assert!(names.contains(&format!("logger-killed-{transport}")), "{transport}");
        }
        let first = trials.iter().position(|trial| trial.is_control()).expect("there are some");
        assert!(trials[first..].iter().all(|trial| trial.is_control()));
    }
}
