//! HPACK, how HTTP/2 packs headers: RFC 7541. Each field is told with the way it was written and what it cost.

use std::collections::VecDeque;

use super::{huffman, tables::STATIC};
use crate::{
    annotation::{Annotation, Purpose},
    http::is_secret,
    reader::Reader,
    shown::{HIDDEN, plain},
};

/// The size of a table that nobody has set, and the largest that we keep: a peer may ask for more.
const TABLE_BYTES: usize = 4_096;
const MAX_TABLE_BYTES: usize = 64 * 1024;

/// What a field costs in the table besides its text.
const FIELD_BYTES: usize = 32;

/// What one end has sent that has a number since, newest first.
#[derive(Debug)]
pub(super) struct Table {
    fields: VecDeque<Field>,
    bytes: usize,
    limit: usize,
}

/// A header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Vec<u8>,
    pub(super) value: Vec<u8>,
}

impl Field {
    fn table_bytes(&self) -> usize {
        self.name.len() + self.value.len() + FIELD_BYTES
    }

    fn is_secret(&self) -> bool {
        is_secret(&String::from_utf8_lossy(&self.name))
    }

    fn shown(&self) -> String {
        let value = if self.is_secret() { HIDDEN.to_owned() } else { plain(&self.value) };
        format!("{}: {value}", plain(&self.name))
    }
}

impl Table {
    pub(super) fn new() -> Self {
        Table { fields: VecDeque::new(), bytes: 0, limit: TABLE_BYTES }
    }

    fn get(&self, index: usize) -> Option<Field> {
        match index.checked_sub(STATIC.len() + 1) {
            Some(at) => self.fields.get(at).cloned(),
            None => STATIC.get(index.checked_sub(1)?).map(|(name, value)| Field {
                name: name.as_bytes().to_vec(),
                value: value.as_bytes().to_vec(),
            }),
        }
    }

    fn add(&mut self, field: Field) {
        self.bytes += field.table_bytes();
        self.fields.push_front(field);
        self.evict();
    }

    fn resize(&mut self, limit: usize) -> Option<()> {
        (limit <= MAX_TABLE_BYTES).then(|| self.limit = limit)?;
        self.evict();
        Some(())
    }

    fn evict(&mut self) {
        while self.bytes > self.limit
            && let Some(oldest) = self.fields.pop_back()
        {
            self.bytes -= oldest.table_bytes();
        }
    }
}

/// The fields of a whole block, and what is told of each. What cannot be read is missing at the end.
pub(super) fn block(mut reader: Reader, table: &mut Table) -> (Vec<Field>, Vec<Annotation>) {
    let (mut fields, mut told) = (Vec::new(), Vec::new());
    while !reader.is_empty() {
        match field(&mut reader, table) {
            Some((field, annotation)) => {
                fields.extend(field);
                told.push(annotation);
            }
            None => break,
        }
    }
    (fields, told)
}

fn field(reader: &mut Reader, table: &mut Table) -> Option<(Option<Field>, Annotation)> {
    reader.budget.take()?;
    let start = reader.offset();
    let first = *reader.left().first()?;
    if first & 0x80 != 0 {
        let index = integer(reader, 7)?;
        let field = table.get(index)?;
        let text = format!("{}  [indexed, {}]", field.shown(), numbered(index));
        return Some((Some(field), Annotation::leaf(reader.since(start), Purpose::Headers, text)));
    }
    if first & 0xe0 == 0x20 {
        let limit = integer(reader, 5)?;
        table.resize(limit)?;
        let text = format!("dynamic table size update: {limit} B");
        return Some((None, Annotation::leaf(reader.since(start), Purpose::Headers, text)));
    }
    let (bits, is_added) = if first & 0x40 != 0 { (6, true) } else { (4, false) };
    let index = integer(reader, bits)?;
    let (name, of_name) = match index {
        0 => {
            let name = string(reader)?;
            (name.text, if name.huffman { "new Huffman name" } else { "new name" }.to_owned())
        }
        index => (table.get(index)?.name, format!("name {}", numbered(index))),
    };
    let value = string(reader)?;
    let how = if value.huffman { ", Huffman" } else { "" };
    let field = Field { name, value: value.text };
    let added = match (is_added, first & 0x10 != 0) {
        (true, _) => "with indexing",
        (false, true) => "never indexed",
        (false, false) => "without indexing",
    };
    let text = format!("{}  [{added}, {of_name}{how}]", field.shown());
    let mut annotation = Annotation::leaf(reader.since(start), Purpose::Headers, text);
    if field.is_secret() && !value.range.is_empty() {
        annotation = annotation.hiding(value.range, value.huffman);
    }
    if is_added {
        table.add(field.clone());
    }
    Some((Some(field), annotation))
}

fn numbered(index: usize) -> String {
    if index > STATIC.len() { format!("dynamic {index}") } else { format!("static {index}") }
}

/// A number of which the first bits are in a byte that has others, too.
fn integer(reader: &mut Reader, bits: u32) -> Option<usize> {
    /// More than any length here; each adds seven bits.
    const MORE_BYTES: u32 = 4;
    let most = (1_usize << bits) - 1;
    let mut number = usize::from(reader.byte()?) & most;
    if number < most {
        return Some(number);
    }
    for at in 0..MORE_BYTES {
        let byte = reader.byte()?;
        number += usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

struct Text {
    text: Vec<u8>,
    huffman: bool,
    /// Where it is, without its length.
    range: std::ops::Range<usize>,
}

fn string(reader: &mut Reader) -> Option<Text> {
    let huffman = reader.left().first()? & 0x80 != 0;
    let len = integer(reader, 7)?;
    let start = reader.offset();
    let bytes = reader.take(len)?;
    let text = if huffman { huffman::unpack(bytes)? } else { bytes.to_vec() };
    Some(Text { text, huffman, range: reader.since(start) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{annotation::covers, reader::Budget};

    fn read(packed: &str, table: &mut Table) -> Vec<String> {
        let (bytes, budget) = (hex::decode(packed).expect("hexadecimal"), Budget::new());
        let (fields, told) = block(Reader::new(&bytes, 0, &budget), table);
        assert!(covers(&told, &(0..bytes.len())), "{told:?}");
        fields.iter().map(Field::shown).collect()
    }

    /// RFC 7541, C.4: three requests on a connection.
    #[test]
    fn what_was_sent_before_is_known_by_its_number() {
        let mut table = Table::new();
        let common = [":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"];
        assert_eq!(read("828684418cf1e3c2e5f23a6ba0ab90f4ff", &mut table), common);
        let more = [&common[..], &["cache-control: no-cache"]].concat();
        assert_eq!(read("828684be5886a8eb10649cbf", &mut table), more);
        let other = [":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com"];
        let other = [&other[..], &["custom-key: custom-value"]].concat();
        assert_eq!(read("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf", &mut table), other);
        assert_eq!(table.bytes, 164);
    }

    /// RFC 7541, C.6: responses through a table of 256 bytes, which drops the oldest.
    #[test]
    fn a_full_table_forgets_the_oldest() {
        let mut table = Table::new();
        table.resize(256).expect("less than before");
        for packed in [
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        ] {
            read(packed, &mut table);
        }
        assert_eq!(table.bytes, 215);
        let newest = &table.fields[0];
        assert_eq!(newest.name, b"set-cookie");
        assert_eq!(newest.shown(), "set-cookie: •••", "nobody may see it");
    }

    #[test]
    fn a_secret_is_hidden_however_it_is_written() {
        let budget = Budget::new();
        // Not indexed; indexed from now on; by its number.
        let bytes = b"\x0f\x08\x09swordfish\x57\x09swordfish\xbe";
        let (fields, told) = block(Reader::new(bytes, 0, &budget), &mut Table::new());
        assert!(fields.iter().all(|field| field.value == b"swordfish"), "it was read: {fields:?}");
        let shown: Vec<_> = told.iter().map(|one| one.text.split("  ").next()).collect();
        assert_eq!(shown, [Some("authorization: •••"); 3]);
        let hidden: Vec<_> =
            told.iter().flat_map(Annotation::secrets).map(|secret| secret.range.clone()).collect();
        assert_eq!(hidden, [3..12, 14..23]);
    }

    #[test]
    fn what_cannot_be_read_ends_the_block() {
        let budget = Budget::new();
        for bytes in [&b"\xff\xff\xff\xff\xff\xff"[..], b"\xc0", b"\x40\x05abc", b"\x3f\xff\xff\xff\x7f"] {
            let (fields, told) = block(Reader::new(bytes, 0, &budget), &mut Table::new());
            assert_eq!((fields.len(), told.len()), (0, 0), "{bytes:?}");
        }
    }
}
