//! Numbers as they are read.

/// A whole number with a comma before each three digits: `14,532`.
pub(crate) fn count(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if value < 0.0 && digits != "0" { format!("-{grouped}") } else { grouped }
}

/// Microseconds as milliseconds, with three digits that mean something.
pub(super) fn millis(micros: Option<u64>) -> String {
    match micros {
        None => "n/a".to_owned(),
        Some(micros @ 0..1_000) => format!("{:.3} ms", micros as f64 / 1e3),
        Some(micros @ 1_000..10_000) => format!("{:.2} ms", micros as f64 / 1e3),
        Some(micros @ 10_000..100_000) => format!("{:.1} ms", micros as f64 / 1e3),
        Some(micros) => format!("{} ms", count(micros as f64 / 1e3)),
    }
}

/// Round microseconds at an axis: `0.2 ms`, `10 ms`, `5 s`.
pub(super) fn duration(micros: f64) -> String {
    if micros >= 1e6 { format!("{} s", micros / 1e6) } else { format!("{} ms", micros / 1e3) }
}

/// How many runs stand behind a figure.
pub(super) fn runs(number: usize) -> String {
    if number == 1 { "one run".to_owned() } else { format!("{number} runs") }
}

/// CPU time for an entry: `63.9 µs`.
pub(super) fn micros(micros: f64) -> String {
    format!("{micros:.1} µs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        let counted = [0.0, -0.2, 999.4, 999.6, 1_000.0, 14_532.0, 1_234_567.0, -4_321.0].map(count);
        assert_eq!(counted, ["0", "0", "999", "1,000", "1,000", "14,532", "1,234,567", "-4,321"]);
    }

    #[test]
    fn milliseconds_have_three_digits() {
        let read = [Some(7), Some(1_234), Some(12_345), Some(1_234_567), None].map(millis);
        assert_eq!(read, ["0.007 ms", "1.23 ms", "12.3 ms", "1,235 ms", "n/a"]);
    }

    #[test]
    fn an_axis_has_no_zeros_that_mean_nothing() {
        assert_eq!([100.0, 1e3, 1e4, 5e6].map(duration), ["0.1 ms", "1 ms", "10 ms", "5 s"]);
    }
}
