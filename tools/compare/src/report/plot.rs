//! Pictures as SVG, by plotters. Each series has a mark of its own, so that they read in black and white as well.

use anyhow::anyhow;
use plotters::{
    coord::ranged1d::{AsRangedCoord, Ranged, ValueFormatter},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

const SIZE: (u32, u32) = (760, 420);
const FONT: &str = "sans-serif";

/// Dark enough on white, far enough apart also for eyes that do not tell red from green (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 120, 90),
    RGBColor(204, 121, 167),
    RGBColor(86, 86, 86),
    RGBColor(230, 159, 0),
];

/// A line with its name.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// How an axis is divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    Linear,
    Logarithmic,
}

/// What stands at an axis.
pub(super) struct Labels<'a> {
    pub(super) title: &'a str,
    pub(super) x: &'a str,
    pub(super) y: &'a str,
    /// How the numbers of each are written.
    pub(super) x_number: &'a dyn Fn(&f64) -> String,
    pub(super) y_number: &'a dyn Fn(&f64) -> String,
}

/// Lines with marks, over two axes.
pub(super) fn lines(labels: &Labels<'_>, axes: (Axis, Axis), series: &[Series]) -> anyhow::Result<String> {
    let all = || series.iter().flat_map(|series| series.points.iter().copied());
    let bounds = |value: fn((f64, f64)) -> f64, axis: Axis| {
        let (low, high) = all()
            .map(value)
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        match axis {
            _ if low > high => (0.0, 1.0),
            Axis::Linear => (low.min(0.0), if high > 0.0 { high * 1.05 } else { 1.0 }),
            Axis::Logarithmic => (low.max(1e-3) / 1.2, (high * 1.2).max(2e-3)),
        }
    };
    let (x, y) = (bounds(|point| point.0, axes.0), bounds(|point| point.1, axes.1));
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let (across, up) = (x.0..x.1, y.0..y.1);
        match axes {
            (Axis::Linear, Axis::Linear) => draw_lines(&area, labels, series, across, up, false),
            (Axis::Linear, Axis::Logarithmic) => {
                draw_lines(&area, labels, series, across, up.log_scale(), true)
            }
            (Axis::Logarithmic, Axis::Linear) => {
                draw_lines(&area, labels, series, across.log_scale(), up, false)
            }
            (Axis::Logarithmic, Axis::Logarithmic) => {
                draw_lines(&area, labels, series, across.log_scale(), up.log_scale(), true)
            }
        }
        .map_err(|error| anyhow!("drawing {}: {error}", labels.title))?;
        area.present()?;
    }
    Ok(scalable(svg))
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw_lines<X, Y>(
    area: &Area<'_>,
    labels: &Labels<'_>,
    series: &[Series],
    x: X,
    y: Y,
    log_up: bool,
) -> Result<(), Box<dyn std::error::Error>>
where
    X: AsRangedCoord<Value = f64>,
    Y: AsRangedCoord<Value = f64>,
    X::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
    Y::CoordDescType: Ranged<ValueType = f64> + ValueFormatter<f64>,
{
    // Between the powers of ten lines come closer and closer: not each has room for its number.
    let y_number = |value: &f64| {
        let first_digit = value / 10_f64.powf(value.abs().log10().floor());
        let crowded = log_up && ![1.0, 2.0, 3.0, 5.0].iter().any(|digit| (first_digit - digit).abs() < 0.01);
        if crowded { String::new() } else { (labels.y_number)(value) }
    };
    let mut chart = ChartBuilder::on(area)
        .caption(labels.title, (FONT, 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(74)
        .build_cartesian_2d(x, y)?;
    chart
        .configure_mesh()
        .x_desc(labels.x)
        .y_desc(labels.y)
        .y_labels(if log_up { 24 } else { 8 })
        .x_label_formatter(labels.x_number)
        .y_label_formatter(&y_number)
        .label_style((FONT, 13))
        .axis_desc_style((FONT, 14))
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .draw()?;
    for (number, series) in series.iter().enumerate() {
        let colour = COLOURS[number % COLOURS.len()];
        chart.draw_series(LineSeries::new(series.points.iter().copied(), colour.stroke_width(2)))?;
        let every = (series.points.len() / 12).max(1);
        let marked = series.points.iter().step_by(every).map(|point| mark(number, *point, colour));
        let legend = chart.draw_series(marked)?;
        legend.label(series.name.as_str()).legend(move |(x, y)| {
            let line = PathElement::new(vec![(x, y), (x + 24, y)], colour.stroke_width(2));
            EmptyElement::at((0, 0)) + line + mark(number, (x + 12, y), colour)
        });
    }
    if series.len() > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerRight)
            .label_font((FONT, 14))
            .background_style(WHITE.mix(0.85))
            .border_style(RGBColor(200, 200, 200))
            .draw()?;
    }
    Ok(())
}

/// The mark of a series: each has a form of its own.
fn mark<C>(number: usize, at: C, colour: RGBColor) -> Text<'static, C, &'static str> {
    const MARKS: [&str; 6] = ["\u{25cf}", "\u{25a0}", "\u{25b2}", "\u{2715}", "\u{25c6}", "\u{25cb}"];
    let style = (FONT, 13).into_font().color(&colour).pos(Pos::new(HPos::Center, VPos::Center));
    Text::new(MARKS[number % MARKS.len()], at, style)
}

/// Bars that are stacked from parts, one beside the other; each part has a name in the legend.
pub(super) fn stacked(
    title: &str,
    y_label: &str,
    bars: &[(String, Vec<f64>)],
    parts: &[&str],
) -> anyhow::Result<String> {
    let highest = bars.iter().map(|(_, parts)| parts.iter().sum::<f64>()).fold(0.0, f64::max);
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        draw_stacked(&area, title, y_label, bars, parts, highest.max(1e-6) * 1.25)
            .map_err(|error| anyhow!("drawing {title}: {error}"))?;
        area.present()?;
    }
    Ok(scalable(svg))
}

fn draw_stacked(
    area: &Area<'_>,
    title: &str,
    y_label: &str,
    bars: &[(String, Vec<f64>)],
    parts: &[&str],
    highest: f64,
) -> Result<(), Box<dyn std::error::Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(30)
        .y_label_area_size(74)
        .build_cartesian_2d(-0.5..bars.len() as f64 - 0.5, 0.0..highest)?;
    let name = |at: &f64| {
        let near = at.round();
        let bar = bars.get(near as usize).filter(|_| (at - near).abs() < 0.01 && near >= 0.0);
        bar.map_or_else(String::new, |(name, _)| name.clone())
    };
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(bars.len() * 2 + 1)
        .x_label_formatter(&name)
        .y_desc(y_label)
        .label_style((FONT, 14))
        .axis_desc_style((FONT, 14))
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .draw()?;
    for (number, part) in parts.iter().enumerate() {
        let colour = shade(number, parts.len());
        let boxes = bars.iter().enumerate().map(|(bar, (_, values))| {
            let bottom: f64 = values[..number].iter().sum();
            let (left, right) = (bar as f64 - 0.3, bar as f64 + 0.3);
            Rectangle::new([(left, bottom), (right, bottom + values[number])], colour.filled())
        });
        let legend = chart.draw_series(boxes)?;
        legend
            .label(*part)
            .legend(move |(x, y)| Rectangle::new([(x, y - 6), (x + 18, y + 6)], colour.filled()));
    }
    let sums = bars.iter().enumerate().map(|(bar, (_, values))| {
        let sum: f64 = values.iter().sum();
        let style = (FONT, 14).into_font().color(&BLACK).pos(Pos::new(HPos::Center, VPos::Bottom));
        Text::new(format!("{sum:.0}"), (bar as f64, sum), style)
    });
    chart.draw_series(sums)?;
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .label_font((FONT, 14))
        .background_style(WHITE.mix(0.85))
        .border_style(RGBColor(200, 200, 200))
        .draw()?;
    Ok(())
}

/// The colour of one of so many parts, from dark to light, so that neighbours differ in grey too.
fn shade(number: usize, parts: usize) -> RGBColor {
    let grey = 60 + (170 / parts.max(1) * number) as u8;
    let base = COLOURS[number % COLOURS.len()];
    let blend = |own: u8| ((u16::from(own) + u16::from(grey)) / 2) as u8;
    RGBColor(blend(base.0), blend(base.1), blend(base.2))
}

/// Lets a picture become as wide as its place on the page.
fn scalable(svg: String) -> String {
    let (width, height) = SIZE;
    let fixed = format!(r#"width="{width}" height="{height}""#);
    svg.replacen(&fixed, r#"width="100%""#, 1)
}
