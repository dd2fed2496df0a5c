//! Lines over two axes, each with its name at its right end.

use maud::{Markup, html};

use super::{
    super::look,
    Canvas,
    axis::{Axis, Range},
    figure, px, width_of,
};
use crate::workload::Subject;

/// Marks of a line, at most: more would hide it.
const MARKS: usize = 12;

/// What one row of text takes.
const ROW: f64 = 15.0;

/// A value.
#[derive(Debug, Clone, Copy)]
pub(in crate::report) struct Point {
    pub(in crate::report) x: f64,
    pub(in crate::report) y: f64,
    /// The lowest and the highest of what was measured more than once.
    pub(in crate::report) range: Option<(f64, f64)>,
}

impl From<(f64, f64)> for Point {
    fn from((x, y): (f64, f64)) -> Self {
        Point { x, y, range: None }
    }
}

/// A line.
#[derive(Debug)]
pub(in crate::report) struct Series {
    /// Whose it is: it has its colour, its shape and its name.
    pub(in crate::report) subject: Subject,
    /// From left to right.
    pub(in crate::report) points: Vec<Point>,
}

/// Lines over two axes.
pub(in crate::report) struct Lines<'a> {
    pub(in crate::report) title: &'a str,
    /// A sentence about them.
    pub(in crate::report) about: &'a str,
    pub(in crate::report) x: Axis<'a>,
    pub(in crate::report) y: Axis<'a>,
    pub(in crate::report) series: Vec<Series>,
    /// A part of the x axis in which something was broken.
    pub(in crate::report) broken: Option<(f64, f64)>,
}

impl Lines<'_> {
    /// The picture.
    pub(in crate::report) fn draw(&self) -> Markup {
        figure((self.title, self.about), (340.0, 330.0), &html! {}, |canvas| Plot::new(self, canvas).draw())
    }
}

/// One drawing of it, with its places known.
struct Plot<'a> {
    lines: &'a Lines<'a>,
    canvas: Canvas,
    x: Range,
    y: Range,
    left: f64,
    right: f64,
}

const TOP: f64 = 28.0;
const BELOW: f64 = 44.0;

/// A name at the end of a line: where it stands, and whose it is.
struct Label {
    at: (f64, f64),
    end: (f64, f64),
    subject: Subject,
}

impl<'a> Plot<'a> {
    fn new(lines: &'a Lines<'a>, canvas: Canvas) -> Self {
        let points = || lines.series.iter().flat_map(|series| &series.points);
        let ends = |point: &Point| {
            let (low, high) = point.range.unwrap_or((point.y, point.y));
            [point.y, low, high]
        };
        let right = if canvas.is_narrow { 74.0 } else { 92.0 };
        Plot {
            lines,
            canvas,
            x: Range::around(points().map(|point| point.x), lines.x.scale),
            y: Range::around(points().flat_map(ends), lines.y.scale),
            left: if canvas.is_narrow { 52.0 } else { 62.0 },
            right: canvas.width - right,
        }
    }

    fn bottom(&self) -> f64 {
        self.canvas.height - BELOW
    }

    fn across(&self, x: f64) -> f64 {
        self.left + self.x.part(x) * (self.right - self.left)
    }

    fn up(&self, y: f64) -> f64 {
        self.bottom() - self.y.part(y) * (self.bottom() - TOP)
    }

    fn draw(&self) -> Markup {
        html! {
            (self.axes())
            @if let Some((from, to)) = self.lines.broken {
                rect class="broken" x=(px(self.across(from))) y=(px(TOP))
                    width=(px(self.across(to) - self.across(from))) height=(px(self.bottom() - TOP)) {}
            }
            @for series in &self.lines.series { (self.line(series)) }
            @for label in self.labels() {
                g class=(look::class(label.subject)) {
                    @if (label.at.1 - label.end.1).abs() > 2.0 {
                        line class="range" x1=(px(label.end.0 + 6.0)) y1=(px(label.end.1)) x2=(px(label.at.0 - 2.0))
                            y2=(px(label.at.1)) {}
                    }
                    text class="name halo" x=(px(label.at.0)) y=(px(label.at.1 + 4.0)) { (label.subject.as_str()) }
                }
            }
        }
    }

    fn axes(&self) -> Markup {
        let widest = if self.canvas.is_narrow { 44.0 } else { 58.0 };
        let across = self.x.ticks(&self.lines.x.ticks, widest / (self.right - self.left));
        let up = self.y.ticks(&self.lines.y.ticks, 22.0 / (self.bottom() - TOP));
        html! {
            @for (value, name) in &up {
                @let y = self.up(*value);
                line class="grid" x1=(px(self.left)) y1=(px(y)) x2=(px(self.right)) y2=(px(y)) {}
                text class="tick quiet" x=(px(self.left - 6.0)) y=(px(y + 4.0)) text-anchor="end" { (name) }
            }
            @for (value, name) in &across {
                @let x = self.across(*value);
                line class="grid" x1=(px(x)) y1=(px(TOP)) x2=(px(x)) y2=(px(self.bottom())) {}
                text class="tick quiet" x=(px(x)) y=(px(self.bottom() + 16.0)) text-anchor="middle" { (name) }
            }
            line class="axis" x1=(px(self.left)) y1=(px(self.bottom())) x2=(px(self.right)) y2=(px(self.bottom())) {}
            text class="quiet" x="2" y="14" { (self.lines.y.label) }
            text class="quiet" x=(px(self.right)) y=(px(self.canvas.height - 8.0)) text-anchor="end" {
                (self.lines.x.label)
            }
        }
    }

    fn line(&self, series: &Series) -> Markup {
        let at = |point: &Point| (self.across(point.x), self.up(point.y));
        let path: Vec<String> =
            series.points.iter().map(at).map(|(x, y)| format!("{} {}", px(x), px(y))).collect();
        let every = series.points.len().div_ceil(MARKS).max(1);
        html! {
            @if !path.is_empty() {
                g class=(look::class(series.subject)) {
                    path class="line" d={ "M" (path.join("L")) } {}
                    @for point in &series.points {
                        @if let Some((low, high)) = point.range {
                            @let x = px(self.across(point.x));
                            line class="range" x1=(x) y1=(px(self.up(low))) x2=(x) y2=(px(self.up(high))) {}
                        }
                    }
                    @for point in series.points.iter().step_by(every) {
                        @let (x, y) = at(point);
                        g class="shape" transform={ "translate(" (px(x - 6.0)) " " (px(y - 6.0)) ")" } {
                            (look::shape(series.subject))
                        }
                    }
                }
            }
        }
    }

    /// The names, each where its line ends, or above or below that if another name or line is there.
    fn labels(&self) -> Vec<Label> {
        let ends = self.lines.series.iter().filter_map(|series| {
            let last = series.points.last()?;
            Some((series.subject, (self.across(last.x), self.up(last.y))))
        });
        let mut ends: Vec<_> = ends.collect();
        ends.sort_by(|a, b| a.1.1.total_cmp(&b.1.1));
        let mut labels: Vec<Label> = Vec::new();
        for (subject, end) in ends {
            let x = end.0 + 10.0;
            let wide = width_of(subject.as_str()) + 4.0;
            let others = self.lines.series.iter().filter(|series| series.subject != subject);
            let ink: Vec<(f64, f64)> = others.flat_map(|series| self.along(series)).collect();
            let is_free = |y: f64| {
                let named = |label: &Label| {
                    let wide = wide.max(width_of(label.subject.as_str()) + 4.0);
                    (label.at.0 - x).abs() < wide && (label.at.1 - y).abs() < ROW
                };
                let drawn =
                    |(at, up): &(f64, f64)| (x - 4.0..x + wide).contains(at) && (up - y).abs() < ROW / 2.0;
                (TOP..=self.bottom() - 6.0).contains(&y)
                    && !labels.iter().any(named)
                    && !ink.iter().any(drawn)
            };
            let steps = (0..30).flat_map(|step| [f64::from(step), -f64::from(step)]);
            let y = steps.map(|step| end.1 + step * 4.0).find(|y| is_free(*y)).unwrap_or(end.1);
            labels.push(Label { at: (x, y), end, subject });
        }
        labels
    }

    /// Places that a line goes through, close to each other.
    fn along(&self, series: &Series) -> Vec<(f64, f64)> {
        const STEPS: u32 = 24;
        let places: Vec<(f64, f64)> =
            series.points.iter().map(|point| (self.across(point.x), self.up(point.y))).collect();
        let between = |pair: &[(f64, f64)]| {
            let (from, to) = (pair[0], pair[1]);
            let part = |step: u32| f64::from(step) / f64::from(STEPS);
            let place =
                move |step| (from.0 + (to.0 - from.0) * part(step), from.1 + (to.1 - from.1) * part(step));
            (0..=STEPS).map(place).collect::<Vec<_>>()
        };
        if places.len() == 1 { places } else { places.windows(2).flat_map(between).collect() }
    }
}
