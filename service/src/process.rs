//! The standard process metrics, under the names of Prometheus' own client libraries.

use std::{
    fmt::Write,
    fs,
    time::{Duration, SystemTime},
};

use metrics::{Counter, Unit, counter, describe_counter};
use nix::sys::resource::{UsageWho, getrusage};

use crate::descriptors;

const LOST_LINES: &str = "log_lost_lines_total";
const LOST_SPANS: &str = "traces_lost_spans_total";

/// Bytes in what the system calls a kB.
const KIB: u64 = 1024;

/// This process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Process {
    since_epoch: Duration,
}

impl Process {
    /// For a process that has just begun.
    pub(crate) fn begun_now() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Process { since_epoch }
    }

    /// Adds it, and how many lines of its log are lost, to `text` in Prometheus' text format: by hand, since the recorder
    /// has no counter that is no whole number. What the system does not tell is left out.
    pub(crate) fn describe(&self, text: &mut String, lost_lines: u64) {
        let begun = Some(self.since_epoch.as_secs_f64());
        let most_fds = Some(descriptors::limit() as f64);
        for (name, kind, help, value) in [
            (
                "process_cpu_seconds_total",
                "counter",
                "Total user and system CPU time spent in seconds",
                cpu_seconds(),
            ),
            ("process_resident_memory_bytes", "gauge", "Resident memory size in bytes", resident_bytes()),
            ("process_open_fds", "gauge", "Number of open file descriptors", open_fds()),
            ("process_max_fds", "gauge", "Maximum number of open file descriptors", most_fds),
            (
                "process_start_time_seconds",
                "gauge",
                "Start time of the process since the Unix epoch in seconds",
                begun,
            ),
        ] {
            if let Some(value) = value {
                family(text, name, kind, help);
                let _ = writeln!(text, "{name} {value}\n");
            }
        }
        family(
            text,
            LOST_LINES,
            "counter",
            "Log lines dropped because they could not be written, or not fast enough",
        );
        let _ = writeln!(text, "{LOST_LINES} {lost_lines}\n");
        let name = "fourwire_build_info";
        family(text, name, "gauge", "Constant 1, labelled with the version");
        let _ = writeln!(text, "{name}{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    }
}

/// Counts the spans that are lost. Call it after the metrics recorder is installed.
pub(crate) fn lost_spans() -> Counter {
    describe_counter!(
        LOST_SPANS,
        Unit::Count,
        "Spans dropped because the trace collector rejected them or the queue was full"
    );
    let lost = counter!(LOST_SPANS);
    // There from the start, so that the first is an increase too.
    lost.increment(0);
    lost
}

fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn cpu_seconds() -> Option<f64> {
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let seconds = |time: nix::sys::time::TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    Some(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))?;
    Some((kib.parse::<u64>().ok()? * KIB) as f64)
}

fn open_fds() -> Option<f64> {
    // The one that reads the list is closed again.
    Some(fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_of_this_process() {
        let mut text = String::new();
        Process::begun_now().describe(&mut text, 7);
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|value| value.parse::<f64>().ok()).unwrap_or_else(|| panic!("{name} in {text}"))
        };
        assert!(value("process_cpu_seconds_total") > 0.0);
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") > value("process_open_fds"));
        assert!(value("process_start_time_seconds") > 1.7e9);
        assert_eq!(value("log_lost_lines_total"), 7.0);
    }
}
