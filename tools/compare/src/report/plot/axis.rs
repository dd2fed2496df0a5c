//! An axis: where a value lies on it, and which values are named.

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Scale {
    /// Begins at zero.
    Linear,
    /// For values above zero.
    Logarithmic,
}

/// What is named at an axis.
pub(in crate::report) enum Ticks<'a> {
    /// Round values, as many as find room, written like this.
    Round(&'a dyn Fn(f64) -> String),
    /// These.
    At(Vec<(f64, String)>),
}

/// An axis.
pub(in crate::report) struct Axis<'a> {
    /// What its values are.
    pub(in crate::report) label: &'a str,
    /// How it is divided.
    pub(in crate::report) scale: Scale,
    /// What is named.
    pub(in crate::report) ticks: Ticks<'a>,
}

/// From where to where an axis goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Range {
    low: f64,
    high: f64,
    scale: Scale,
}

impl Range {
    /// One that has all values on it, with some air.
    pub(super) fn around(values: impl Iterator<Item = f64>, scale: Scale) -> Self {
        let values = values.filter(|value| scale == Scale::Linear || *value > 0.0);
        let ends = (f64::INFINITY, f64::NEG_INFINITY);
        let (low, high) = values.fold(ends, |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = match scale {
            Scale::Linear if low > high => (0.0, 1.0),
            Scale::Linear => (low.min(0.0), if high > 0.0 { high * 1.05 } else { 1.0 }),
            Scale::Logarithmic if low > high => (1.0, 10.0),
            Scale::Logarithmic => (low / 1.15, high * 1.15),
        };
        Range { low, high, scale }
    }

    /// Where a value lies, from 0 to 1.
    pub(super) fn part(&self, value: f64) -> f64 {
        let on = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(self.low).ln(),
        };
        ((on(value) - on(self.low)) / (on(self.high) - on(self.low))).clamp(0.0, 1.0)
    }

    fn holds(&self, value: f64) -> bool {
        let air = (self.high - self.low) * 1e-9;
        (self.low - air..=self.high + air).contains(&value)
    }

    /// The values that are named, with their names, each at least a part of the axis from the next.
    pub(super) fn ticks(&self, ticks: &Ticks<'_>, apart: f64) -> Vec<(f64, String)> {
        match ticks {
            Ticks::At(named) => named.iter().filter(|(value, _)| self.holds(*value)).cloned().collect(),
            Ticks::Round(name) => {
                let mut named: Vec<(f64, String)> =
                    self.round_values(apart).into_iter().map(|value| (value, name(value))).collect();
                named.dedup_by(|(_, own), (_, other)| own == other);
                named
            }
        }
    }

    fn round_values(&self, apart: f64) -> Vec<f64> {
        const DIGITS: [&[f64]; 5] = [
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0],
            &[1.0, 2.0, 3.0, 5.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 3.0],
            &[1.0],
        ];
        if self.scale == Scale::Logarithmic {
            let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
            for digits in DIGITS {
                let values =
                    decades.clone().flat_map(|decade| digits.iter().map(move |digit| digit * power(decade)));
                let values: Vec<f64> = values.filter(|value| self.holds(*value)).collect();
                let fits = values.windows(2).all(|pair| self.part(pair[1]) - self.part(pair[0]) >= apart);
                if fits && values.len() >= 2 {
                    return values;
                }
            }
        }
        self.steps(apart)
    }

    /// Values at equal steps of 1, 2 or 5: also where a logarithmic axis is shorter than that, or very long.
    fn steps(&self, apart: f64) -> Vec<f64> {
        let most = (1.0 / apart).floor().max(2.0);
        let least = (self.high - self.low) / most;
        let decade = power(least.log10().floor() as i32);
        let step = [1.0, 2.0, 5.0, 10.0].map(|digit| digit * decade).into_iter().find(|step| *step >= least);
        let step = step.unwrap_or(10.0 * decade);
        let first = (self.low / step).ceil() as i64;
        let values = (first..).map(|number| number as f64 * step).take_while(|value| self.holds(*value));
        values.collect()
    }
}

/// A power of ten. A negative one of `powi` is not exact, and its digits would be read.
fn power(exponent: i32) -> f64 {
    if exponent < 0 { 1.0 / 10_f64.powi(-exponent) } else { 10_f64.powi(exponent) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(low: f64, high: f64, scale: Scale, apart: f64) -> Vec<(f64, String)> {
        let range = Range::around([low, high].into_iter(), scale);
        range.ticks(&Ticks::Round(&|value| format!("{value}")), apart)
    }

    #[test]
    fn every_axis_has_some_names_and_none_twice() {
        let ends =
            [(0.4, 12.0), (700.0, 23_000.0), (2_000.0, 2_900.0), (1.0, 1.3), (120.0, 900_000.0), (8.0, 8.0)];
        for (low, high) in ends {
            for scale in [Scale::Linear, Scale::Logarithmic] {
                let ticks = named(low, high, scale, 0.08);
                assert!((2..=13).contains(&ticks.len()), "{low} to {high}, {scale:?}: {ticks:?}");
                let mut names: Vec<&String> = ticks.iter().map(|(_, name)| name).collect();
                names.sort();
                names.dedup();
                assert_eq!(names.len(), ticks.len(), "{ticks:?}");
            }
        }
    }

    #[test]
    fn low_values_have_names_beside_high_ones() {
        let ticks = named(700.0, 23_000.0, Scale::Logarithmic, 0.07);
        assert!(ticks.iter().any(|(value, _)| *value == 1_000.0), "{ticks:?}");
        assert!(ticks.iter().any(|(value, _)| *value == 10_000.0), "{ticks:?}");
    }

    #[test]
    fn a_value_lies_where_its_scale_says() {
        let linear = Range { low: 0.0, high: 10.0, scale: Scale::Linear };
        let logarithmic = Range { low: 1.0, high: 100.0, scale: Scale::Logarithmic };
        assert!((linear.part(5.0) - 0.5).abs() < 1e-9);
        assert!((logarithmic.part(10.0) - 0.5).abs() < 1e-9);
        assert_eq!(logarithmic.part(0.0), 0.0);
    }
}
