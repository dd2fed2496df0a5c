//! Amounts of money: whole minor units of one currency. Sums that do not fit are refused, never wrapped.

use crate::{pb::Money, refusal::Refusal};

/// The shop's one currency.
pub const CURRENCY: &str = "EUR";

/// The largest amount, in minor units: sums of many still fit, and JSON's readers lose no digit.
pub const MOST_MINOR: i64 = 1_000_000_000_000;

/// An amount in the shop's currency.
pub fn euro(minor: i64) -> Money {
    Money { currency: CURRENCY.to_owned(), minor }
}

/// The minor units of an amount from outside: 0 to [`MOST_MINOR`] of the shop's currency.
///
/// # Errors
/// If it is another currency, or out of these limits.
pub fn minor(money: Option<&Money>, field: &str) -> Result<i64, Refusal> {
    let Money { currency, minor } =
        money.ok_or_else(|| Refusal::Invalid(format!("missing field `{field}`")))?;
    if currency != CURRENCY {
        return Err(Refusal::Invalid(format!("`{field}`: this shop takes {CURRENCY}, not {currency:?}")));
    }
    if !(0..=MOST_MINOR).contains(minor) {
        return Err(Refusal::Invalid(format!("`{field}`: expected 0 to {MOST_MINOR} minor units")));
    }
    Ok(*minor)
}

/// What so many pieces cost together.
///
/// # Errors
/// If it is more than [`MOST_MINOR`].
pub fn total(items: impl IntoIterator<Item = (u32, i64)>) -> Result<i64, Refusal> {
    let sum = items.into_iter().try_fold(0_i64, |sum, (quantity, unit)| {
        unit.checked_mul(i64::from(quantity)).and_then(|price| sum.checked_add(price))
    });
    let fits = sum.filter(|sum| *sum <= MOST_MINOR);
    fits.ok_or_else(|| Refusal::Invalid(format!("the total is more than {MOST_MINOR} minor units")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_that_do_not_fit_are_refused() {
        assert_eq!(total([(2, 150), (1, 99)]).ok(), Some(399));
        assert!(total([(99, i64::MAX / 50)]).is_err());
        assert!(total([(1, MOST_MINOR), (1, 1)]).is_err());
    }

    #[test]
    fn an_amount_is_of_the_shops_currency_and_within_limits() {
        assert_eq!(minor(Some(&euro(5)), "amount").ok(), Some(5));
        for wrong in [
            None,
            Some(Money { currency: "USD".to_owned(), minor: 5 }),
            Some(euro(-1)),
            Some(euro(MOST_MINOR + 1)),
        ] {
            assert!(minor(wrong.as_ref(), "amount").is_err(), "{wrong:?}");
        }
    }
}
