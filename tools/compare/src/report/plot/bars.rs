//! Bars from the left, one below the other, each made of parts that are told apart without any colour.

use maud::{Markup, html};

use super::{super::look, Canvas, figure, px};
use crate::workload::Subject;

/// What a bar and the air below it take.
const ROW: f64 = 30.0;
const THICK: f64 = 18.0;
const TOP: f64 = 8.0;

/// How many parts there can be: each has a fill of its own.
const FILLS: usize = 4;

/// A bar.
#[derive(Debug)]
pub(in crate::report) struct Bar {
    /// Whose it is.
    pub(in crate::report) subject: Subject,
    /// What it is made of, in the order of the parts' names.
    pub(in crate::report) parts: Vec<f64>,
}

/// Bars that begin at zero.
pub(in crate::report) struct Bars<'a> {
    pub(in crate::report) title: &'a str,
    /// A sentence about them.
    pub(in crate::report) about: &'a str,
    /// The names of the parts.
    pub(in crate::report) parts: &'a [&'a str],
    pub(in crate::report) bars: Vec<Bar>,
    /// How a sum is written.
    pub(in crate::report) number: &'a dyn Fn(f64) -> String,
    /// A value that all are to be compared with, and what it is.
    pub(in crate::report) reference: Option<(f64, &'a str)>,
}

impl Bars<'_> {
    /// The picture.
    pub(in crate::report) fn draw(&self) -> Markup {
        let height = TOP + ROW * self.bars.len() as f64 + if self.reference.is_some() { 16.0 } else { 0.0 };
        figure((self.title, self.about), (height, height), &legend(self.parts), |canvas| self.on(canvas))
    }

    fn on(&self, canvas: Canvas) -> Markup {
        let left = 92.0;
        let room = canvas.width - left - 74.0;
        let longest = self.bars.iter().map(|bar| bar.parts.iter().sum::<f64>()).fold(1e-9, f64::max);
        let length = |value: f64| value / longest * room;
        let bottom = TOP + ROW * self.bars.len() as f64;
        html! {
            @for (row, bar) in self.bars.iter().enumerate() {
                @let y = TOP + ROW * row as f64;
                @let sum = bar.parts.iter().sum::<f64>();
                g class=(look::class(bar.subject)) {
                    g class="shape" transform={ "translate(4 " (px(y + THICK / 2.0 - 6.0)) ")" } {
                        (look::shape(bar.subject))
                    }
                    text class="name" x="22" y=(px(y + THICK / 2.0 + 4.0)) { (bar.subject.as_str()) }
                }
                @for (part, value) in bar.parts.iter().enumerate().filter(|(_, value)| **value > 0.0) {
                    @let before = bar.parts[..part].iter().sum::<f64>();
                    rect class={ "part part-" (part % FILLS) } x=(px(left + length(before))) y=(px(y))
                        width=(px(length(*value))) height=(px(THICK)) {
                        title { (self.parts[part]) ": " ((self.number)(*value)) }
                    }
                }
                text class="sum" x=(px(left + length(sum) + 7.0)) y=(px(y + THICK / 2.0 + 4.0)) { ((self.number)(sum)) }
            }
            @if let Some((value, name)) = self.reference {
                @let x = left + length(value);
                line class="reference" x1=(px(x)) y1="2" x2=(px(x)) y2=(px(bottom)) {}
                text class="quiet" x=(px(x)) y=(px(bottom + 11.0)) { (name) }
            }
        }
    }
}

/// What the parts are.
fn legend(parts: &[&str]) -> Markup {
    html! {
        div.legend {
            @for (part, name) in parts.iter().enumerate() {
                span {
                    svg viewBox="0 0 22 14" width="22" height="14" aria-hidden="true" {
                        rect class={ "part part-" (part % FILLS) } x="1" y="1" width="20" height="12" {}
                    }
                    (name)
                }
            }
        }
    }
}

/// The fills, once for a page.
pub(in crate::report) fn patterns() -> Markup {
    html! {
        svg.patterns aria-hidden="true" {
            defs {
                pattern #lines width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)" {
                    rect.paper width="7" height="7" {}
                    rect.ink width="1.6" height="7" stroke-width="0" {}
                }
                pattern #dots width="6" height="6" patternUnits="userSpaceOnUse" {
                    rect.paper width="6" height="6" {}
                    circle.ink cx="3" cy="3" r="1.3" stroke-width="0" {}
                }
            }
        }
    }
}
