//! Pictures as SVG, with the names and colours of the report's stylesheet.
//!
//! Drawn by hand and not by a library for plots: those write colours and sizes into each element, and here one picture
//! serves a light and a dark scheme. What has to be read on a phone is drawn once more, narrow, with text of the same
//! size; the stylesheet shows one of the two.

mod axis;
mod bars;
mod lines;

use maud::{Markup, html};

pub(super) use axis::{Axis, Scale, Ticks};
pub(super) use bars::{Bar, Bars, patterns};
pub(super) use lines::{Lines, Point, Series};

/// A place to draw on, in units that are pixels at full width.
#[derive(Debug, Clone, Copy)]
struct Canvas {
    width: f64,
    height: f64,
    is_narrow: bool,
}

impl Canvas {
    const fn class(self) -> &'static str {
        if self.is_narrow { "narrow" } else { "wide" }
    }
}

/// Widths at which text has the size that the stylesheet gives it: of a small window, and of a phone.
const WIDE: f64 = 720.0;
const NARROW: f64 = 360.0;

/// A picture below its title and a sentence about it; `heights` are those of the wide one and of the narrow one.
fn figure(
    (title, about): (&str, &str),
    heights: (f64, f64),
    below: &Markup,
    draw: impl Fn(Canvas) -> Markup,
) -> Markup {
    let wide = Canvas { width: WIDE, height: heights.0, is_narrow: false };
    let narrow = Canvas { width: NARROW, height: heights.1, is_narrow: true };
    html! {
        figure {
            figcaption { strong { (title) } span { (about) } }
            @for canvas in [wide, narrow] {
                svg class=(canvas.class()) viewBox={ "0 0 " (px(canvas.width)) " " (px(canvas.height)) } role="img"
                    aria-label=(title) { (draw(canvas)) }
            }
            (below)
        }
    }
}

/// A length, with no more digits than a screen has.
fn px(length: f64) -> String {
    format!("{length:.1}")
}

/// About how wide a text is at the stylesheet's size.
fn width_of(text: &str) -> f64 {
    const LETTER: f64 = 6.6;
    text.chars().count() as f64 * LETTER
}
