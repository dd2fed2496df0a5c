//! The two languages of the pages, and how each writes numbers.

use crate::stats::Estimate;

/// A language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// docs/claims.md.
    English,
    /// docs/claims.ru.md.
    Russian,
}

impl Language {
    /// Both.
    pub const ALL: [Language; 2] = [Language::English, Language::Russian];

    /// The text of this language.
    pub fn pick<T>(self, english: T, russian: T) -> T {
        match self {
            Language::English => english,
            Language::Russian => russian,
        }
    }

    /// A number that is counted, or of which nobody reads a fraction: 1,963 and 1963, 20,210 and 20 210.
    pub fn whole(self, value: impl Into<f64>) -> String {
        let digits = format!("{:.0}", value.into());
        let (separator, from) = self.pick((",", 4), ("\u{a0}", 5));
        if digits.len() < from {
            return digits;
        }
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push_str(separator);
            }
            text.push(digit);
        }
        text
    }

    /// A number with so many decimals.
    pub fn decimal(self, value: f64, decimals: usize) -> String {
        let text = format!("{value:.decimals$}");
        match self {
            Language::English => text,
            Language::Russian => text.replace('.', ","),
        }
    }

    /// A ratio with its interval.
    pub fn ratio(self, by: &Estimate) -> String {
        let part = |value| self.decimal(value, 2);
        let to = self.pick(" to ", "–");
        format!("{} ({}{to}{})", part(by.middle), part(by.low), part(by.high))
    }

    /// Microseconds, as whoever reads them would say it.
    pub fn time(self, micros: f64) -> String {
        let (number, unit) = match micros {
            of if of < 1.0 => (self.whole(of * 1e3), self.pick("ns", "нс")),
            of if of < 1_000.0 => (self.whole(of), self.pick("µs", "мкс")),
            of => (self.decimal(of / 1e3, if of < 100_000.0 { 1 } else { 0 }), self.pick("ms", "мс")),
        };
        format!("{number}\u{a0}{unit}")
    }

    /// A rate.
    pub fn rate(self, per_second: f64) -> String {
        format!("{}{}", self.whole(per_second), self.pick("/s", "/с"))
    }

    /// A size: `64 B`, `16 KiB`.
    pub fn size(self, bytes: usize) -> String {
        let text = crate::cell::bytes(bytes);
        match self {
            Language::English => text.replace(' ', "\u{a0}"),
            Language::Russian => text.replace(" KiB", "\u{a0}КиБ").replace(" B", "\u{a0}Б"),
        }
    }

    /// Words in a row, with a word before the last.
    pub fn list(self, words: &[String]) -> String {
        let and = self.pick(" and ", " и ");
        match words {
            [] => String::new(),
            [one] => one.clone(),
            [first @ .., last] => format!("{}{and}{last}", first.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_the_language_writes_them() {
        let (en, ru) = (Language::English, Language::Russian);
        assert_eq!([en.whole(999), en.whole(1_963), en.whole(1_000_000)], ["999", "1,963", "1,000,000"]);
        assert_eq!([ru.whole(1_963), ru.whole(20_210)], ["1963", "20\u{a0}210"]);
        assert_eq!(
            [en.time(0.25), en.time(431.0), en.time(2_900.0)],
            ["250\u{a0}ns", "431\u{a0}µs", "2.9\u{a0}ms"]
        );
        assert_eq!(ru.decimal(1.5, 2), "1,50");
        assert_eq!(en.list(&["a".into(), "b".into(), "c".into()]), "a, b and c");
    }
}
