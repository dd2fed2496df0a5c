//! The claims, each with the rule of its verdict: a topic is a file.
//!
//! A rule reads nothing but figures. Where a ratio decides, it speaks only if the interval is clear: all of it beyond
//! what the same cell differs from itself, and 3 % at the least.

mod calls;
mod change;
mod gain;
mod services;
mod shop;
mod speed;
mod wires;

use super::{Claim, Finding, Language, Verdict};

/// All claims that are measured, by their numbers.
pub fn all() -> impl Iterator<Item = &'static Claim> {
    let topics = [
        calls::CLAIMS,
        change::CLAIMS,
        gain::CLAIMS,
        services::CLAIMS,
        shop::CLAIMS,
        speed::CLAIMS,
        wires::CLAIMS,
    ];
    let mut claims: Vec<&Claim> = topics.into_iter().flatten().collect();
    claims.sort_by_key(|claim| claim.id);
    claims.into_iter()
}

/// A finding, in the words of the language.
fn found(verdict: Verdict, language: Language, english: String, russian: String) -> Option<Finding> {
    Some(Finding::new(verdict, language.pick(english, russian)))
}
