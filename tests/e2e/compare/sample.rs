//! A run as it could have been: every cell that a report shows, with figures of which it is known what they say.

use std::{collections::BTreeMap, time::Duration};

use ::compare::{
    cell::{Calls, Cell, Latencies, Measured, Part},
    outage::{Break, Broken, Step, Suffered},
    plan::Plan,
    record::{Circumstances, Record},
    wire::{Hop, Wire},
    workload::{BASE_CALLERS, BASE_PAYLOAD, Ending, Shape, Subject},
};
use proto::Transport;
use rig::Verdict;

/// How many requests each repetition has.
const REQUESTS: u64 = 10_000;

/// Which transport is how much faster than `rabbitmq`: `rpc` wins each cell.
const fn times(subject: Subject) -> u32 {
    match subject {
        Subject::Transport(Transport::Http) => 4,
        Subject::Transport(Transport::Rpc) => 6,
        Subject::Transport(Transport::Rabbitmq) => 1,
        Subject::Transport(Transport::Grpc) => 3,
        Subject::Echo => 9,
    }
}

/// What each process takes for an entry, in microseconds.
fn cpu_us(subject: Subject) -> Vec<(&'static str, u64)> {
    match subject {
        Subject::Transport(Transport::Rabbitmq) => {
            vec![("broker", 45), ("logger", 18), ("listener", 32), ("rabbitmq", 59), ("generator", 14)]
        }
        Subject::Transport(_) => vec![("broker", 15), ("logger", 14), ("generator", 14)],
        Subject::Echo => vec![("broker", 13), ("generator", 14)],
    }
}

/// One repetition, in which requests take about so long; `turn` makes each a little different.
fn measured(subject: Subject, middle_us: u64, turn: u64) -> Measured {
    let taking = |middle: u64| {
        let tail = [(middle, 7), (middle * 3 / 2, 2), (middle * 3, 1)];
        Latencies::from(tail.map(|(micros, tenths)| (micros, REQUESTS * tenths / 10)).to_vec())
    };
    let middle_us = middle_us + middle_us * turn / 100;
    let is_stored = subject != Subject::Echo;
    let kept = if is_stored { REQUESTS as usize } else { 0 };
    let took = Duration::from_micros(REQUESTS * middle_us / BASE_CALLERS as u64);
    let cpu = cpu_us(subject).into_iter();
    Measured {
        duration: took,
        answering: took,
        storing: is_stored.then_some(took),
        endings: BTreeMap::from([(Ending::Accepted, REQUESTS)]),
        accepted: REQUESTS,
        kept: Verdict { sent: kept, stored: kept, accepted: kept, ..Verdict::default() },
        answered: taking(middle_us),
        stored: if is_stored { taking(middle_us / 2) } else { Latencies::default() },
        late: taking(60),
        cpu_time: cpu.map(|(name, us)| (name.to_owned(), Duration::from_micros(us * REQUESTS))).collect(),
        peak_memory_kib: BTreeMap::new(),
    }
}

/// Notes some repetitions of a cell.
fn note(record: &mut Record, cell: Cell, middle_us: u64, repetitions: usize) {
    for turn in 0..repetitions as u64 {
        record.note(cell, measured(cell.subject, middle_us, turn));
    }
}

/// A run of that plan.
pub(super) fn record(plan: Plan) -> Record {
    let mut record = Record {
        circumstances: Circumstances { commit: "0123456789".to_owned(), ..Circumstances::now(1, None) },
        plan: plan.clone(),
        warnings: Vec::new(),
        rows: Vec::new(),
        knees: Transport::ALL
            .into_iter()
            .map(|of| (of, f64::from(times(Subject::Transport(of))) * 4_000.0))
            .collect(),
        bare: Vec::new(),
        wire: Transport::ALL.map(wire).to_vec(),
        anew: Vec::new(),
        sync: Latencies::default(),
        faults: Vec::new(),
        took: Duration::from_mins(14),
    };
    for cell in plan.closed_cells() {
        let Shape::Closed { callers } = cell.shape else { continue };
        let slower = if cell.calls == Calls::Own { 2 } else { 1 };
        let middle_us =
            slower * (callers as u64 * 1_000 + cell.payload_bytes as u64) / u64::from(times(cell.subject));
        note(&mut record, cell, middle_us, plan.repetitions);
    }
    for transport in Transport::ALL {
        for rate in [1_000.0, 2_000.0, 3_000.0] {
            let cell = Plan::open_cell(transport, rate, Part::Rates);
            let middle_us = (rate as u64) * 6 / u64::from(times(cell.subject));
            note(&mut record, cell, middle_us, plan.open_repetitions);
        }
    }
    if !plan.faults.is_empty() {
        record.faults = vec![broken()];
    }
    record
}

fn wire(transport: Transport) -> Wire {
    let hop = |out| Hop { first_out: 900, first_in: 500, out, back: 34.0 };
    let hops = match transport {
        Transport::Rabbitmq => {
            vec![
                ("broker to RabbitMQ", hop(347.0)),
                ("listener to RabbitMQ", hop(385.0)),
                ("listener to logger", hop(206.0)),
            ]
        }
        Transport::Http | Transport::Rpc | Transport::Grpc => vec![("broker to logger", hop(250.0))],
    };
    let hops = hops.into_iter().map(|(name, hop)| (name.to_owned(), hop)).collect();
    Wire { transport, payload_bytes: BASE_PAYLOAD, hops }
}

/// The logger was down for three seconds: three transports refused meanwhile.
fn broken() -> Broken {
    let suffered = |transport: Transport| {
        let refuses = transport != Transport::Rabbitmq;
        let step = |at: u32| match at {
            12..24 if refuses => Step { accepted: 0, others: 50, longest_us: 2_000_000 },
            _ => Step { accepted: 50, others: 0, longest_us: 3_000 },
        };
        Suffered {
            endings: BTreeMap::from([
                (Ending::Accepted, 4_200),
                (Ending::Refused, if refuses { 600 } else { 0 }),
            ]),
            kept: Verdict { sent: 4_800, stored: 4_200, accepted: 4_200, ..Verdict::default() },
            answered: Latencies::default(),
            stored: Latencies::default(),
            well_after: Some(Duration::ZERO),
            timeline: (0..96).map(step).collect(),
        }
    };
    Broken {
        what: Break::LoggerKilled,
        from: Duration::from_secs(3),
        to: Duration::from_secs(6),
        by_transport: Transport::ALL.into_iter().map(|transport| (transport, suffered(transport))).collect(),
    }
}
