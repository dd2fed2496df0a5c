//! TLS: its records, of which only the outside can be read.

use crate::{
    annotation::{Annotation, Purpose, unread},
    reader::{Budget, Reader},
};

/// Whether this is how TLS begins.
pub(crate) fn is_tls(bytes: &[u8]) -> bool {
    matches!(bytes, [0x16, 3, ..])
}

/// What went one way on a connection.
pub(crate) fn annotate(bytes: &[u8], budget: &Budget) -> Vec<Annotation> {
    let (mut records, rest) = Reader::new(bytes, 0, budget).all(record);
    records.extend(rest.map(unread));
    records
}

fn record(reader: &mut Reader) -> Option<Annotation> {
    reader.budget.take()?;
    let start = reader.offset();
    let name = match reader.byte()? {
        20 => "change_cipher_spec",
        21 => "alert",
        22 => "handshake",
        23 => "application data",
        _ => return None,
    };
    let (version, len) = (reader.number(2)?, reader.length(2)?);
    reader.take(len)?;
    let text = format!("TLS record: {name}, version {version:#06x}, length {len}");
    Some(Annotation::framed(reader.since(start), 5, Purpose::Encrypted, text).of_kind("TLS record"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::annotation::covers;

    #[test]
    fn records_are_told_and_what_is_in_them_is_not() {
        let bytes = b"\x16\x03\x01\x00\x02hi\x17\x03\x03\x00\x03abc\x17\x03";
        let budget = Budget::new();
        let told = annotate(bytes, &budget);
        assert!(is_tls(bytes) && !is_tls(b"GET"));
        assert!(covers(&told, &(0..bytes.len())));
        assert_eq!(told[1].text, "TLS record: application data, version 0x0303, length 3");
        assert_eq!(told[1].cost().get(Purpose::Encrypted), 3);
        assert_eq!(told[2].cost().get(Purpose::Unread), 2);
    }
}
