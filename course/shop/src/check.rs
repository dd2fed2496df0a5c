//! Raw fields become valid ones here, and only here.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::{money, pb::Item, refusal::Refusal};

/// Most bytes of a user's name.
pub const USER_NAME_BYTES: usize = 64;

/// Most bytes of a product's name.
pub const PRODUCT_NAME_BYTES: usize = 128;

/// Most pieces of a product in one order, and most products.
const QUANTITY: u32 = 99;
const ITEMS: usize = 20;

const SKU_BYTES: usize = 64;

/// A UUID that is not nil.
///
/// # Errors
/// If it is none; the message names the field.
pub fn id(text: &str, field: &str) -> Result<Uuid, Refusal> {
    let id = text.parse().ok().filter(|id: &Uuid| !id.is_nil());
    id.ok_or_else(|| {
        Refusal::Invalid(format!("`{field}`: expected a UUID other than nil, such as one of version 4"))
    })
}

/// A text that is not empty and has at most so many bytes.
///
/// # Errors
/// If it has not.
pub fn text(text: String, most_bytes: usize, field: &str) -> Result<String, Refusal> {
    let printable = !text.trim().is_empty() && !text.chars().any(char::is_control);
    if printable && text.len() <= most_bytes {
        return Ok(text);
    }
    Err(Refusal::Invalid(format!("`{field}`: expected 1 to {most_bytes} bytes without control characters")))
}

/// The word by which a product is known.
///
/// # Errors
/// If it is none.
pub fn sku(text: &str) -> Result<&str, Refusal> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if !text.is_empty() && text.len() <= SKU_BYTES && text.bytes().all(plain) {
        return Ok(text);
    }
    Err(Refusal::Invalid(format!("`sku`: expected 1 to {SKU_BYTES} of A-Z a-z 0-9 . _ -")))
}

/// What is ordered of one product.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Line {
    /// Of which product.
    pub sku: String,
    /// How many.
    pub quantity: u32,
    /// What one costs, in minor units.
    pub unit: i64,
}

impl From<&Line> for Item {
    fn from(line: &Line) -> Item {
        Item { sku: line.sku.clone(), quantity: line.quantity, unit_price: Some(money::euro(line.unit)) }
    }
}

/// The items of an order, by product.
///
/// # Errors
/// If there are none or too many, or one is out of its limits or names a product again.
pub fn lines(items: &[Item]) -> Result<Vec<Line>, Refusal> {
    if items.is_empty() || items.len() > ITEMS {
        return Err(Refusal::Invalid(format!("`items`: expected 1 to {ITEMS} of them")));
    }
    let mut lines = Vec::with_capacity(items.len());
    for item in items {
        if !(1..=QUANTITY).contains(&item.quantity) {
            return Err(Refusal::Invalid(format!("`quantity`: expected 1 to {QUANTITY}")));
        }
        let unit = money::minor(item.unit_price.as_ref(), "unit_price")?;
        lines.push(Line { sku: sku(&item.sku)?.to_owned(), quantity: item.quantity, unit });
    }
    lines.sort_by(|one: &Line, other| one.sku.cmp(&other.sku));
    if lines.windows(2).any(|pair| pair[0].sku == pair[1].sku) {
        return Err(Refusal::Invalid("`items`: each product once, with its quantity".to_owned()));
    }
    Ok(lines)
}

/// By which the same content is known again.
pub fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}

/// The hash of items.
pub fn hash_of(user: &str, lines: &[Line]) -> String {
    let parts = lines.iter().map(|line| format!("{} {} {}", line.sku, line.quantity, line.unit));
    let parts: Vec<String> = [user.to_owned()].into_iter().chain(parts).collect();
    hash(parts.iter().map(String::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(sku: &str, quantity: u32) -> Item {
        Item { sku: sku.to_owned(), quantity, unit_price: Some(money::euro(100)) }
    }

    #[test]
    fn items_out_of_their_limits_are_refused() {
        let many: Vec<Item> = (0..21).map(|number| item(&format!("p{number}"), 1)).collect();
        for wrong in [
            &[][..],
            &many,
            &[item("a b", 1)],
            &[item("a", 0)],
            &[item("a", 100)],
            &[item("a", 1), item("a", 2)],
        ] {
            assert!(lines(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(lines(&many[..20]).map(|lines| lines.len()).ok(), Some(20));
    }

    #[test]
    fn the_order_of_items_is_no_content() {
        let hash = |items: &[Item]| hash_of("u", &lines(items).expect("valid"));
        assert_eq!(hash(&[item("a", 1), item("b", 2)]), hash(&[item("b", 2), item("a", 1)]));
        assert_ne!(hash(&[item("a", 1)]), hash(&[item("a", 2)]));
    }

    #[test]
    fn ids_are_uuids_but_not_nil() {
        assert!(id("00000000-0000-0000-0000-000000000000", "order_id").is_err());
        assert!(id("1", "order_id").is_err());
        assert!(id("6ba7b810-9dad-11d1-80b4-00c04fd430c8", "order_id").is_ok());
    }
}
