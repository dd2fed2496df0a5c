//! What is written: numbers, strings, messages, and the structs that they hold.

use super::NUMBER_BYTES;

/// Writes a number without a sign.
pub(crate) fn put_uint(out: &mut Vec<u8>, number: u64) {
    if number < 0x80 {
        out.push(u8::try_from(number).expect("below 128"));
        return;
    }
    let bytes = number.to_be_bytes();
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let count = u8::try_from(bytes.len() - zeros).expect("at most 8");
    out.push(count.wrapping_neg());
    out.extend_from_slice(&bytes[zeros..]);
}

/// Writes a number with a sign.
pub(crate) fn put_int(out: &mut Vec<u8>, number: i64) {
    let shifted = (number << 1).cast_unsigned();
    put_uint(out, if number < 0 { !shifted } else { shifted });
}

/// Writes a string.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_uint(out, u64::try_from(text.len()).expect("a length has 64 bits"));
    out.extend_from_slice(text.as_bytes());
}

/// Writes a message with what `put` writes, and its length before it.
pub(crate) fn put_message(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    put(out);
    let mut length = Vec::with_capacity(NUMBER_BYTES);
    put_uint(&mut length, u64::try_from(out.len() - begin).expect("a length has 64 bits"));
    out.splice(begin..begin, length);
}

/// Writes the definition of a struct.
pub(crate) fn put_definition(out: &mut Vec<u8>, id: i64, name: &str, fields: &[(&str, i64)]) {
    const STRUCT: u64 = 3;
    put_message(out, |out| {
        put_int(out, -id);
        put_uint(out, STRUCT);
        // Its own name, unless it has none, and id.
        put_uint(out, 1);
        Fields::new(out).text(0, name).int(1, id).end();
        if !fields.is_empty() {
            put_uint(out, 1);
            put_uint(out, u64::try_from(fields.len()).expect("a few"));
            for (name, id) in fields {
                Fields::new(out).text(0, name).int(1, *id).end();
            }
        }
        out.extend([0, 0]);
    });
}

/// Writes a struct, field by field in the order of their numbers. What is zero is left out.
pub(crate) struct Fields<'a> {
    out: &'a mut Vec<u8>,
    next: u64,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        Fields { out, next: 0 }
    }

    fn begin(&mut self, number: u64) {
        put_uint(self.out, number + 1 - self.next);
        self.next = number + 1;
    }

    pub(crate) fn text(mut self, number: u64, text: &str) -> Self {
        if !text.is_empty() {
            self.begin(number);
            put_text(self.out, text);
        }
        self
    }

    pub(crate) fn uint(mut self, number: u64, value: u64) -> Self {
        if value != 0 {
            self.begin(number);
            put_uint(self.out, value);
        }
        self
    }

    fn int(mut self, number: u64, value: i64) -> Self {
        if value != 0 {
            self.begin(number);
            put_int(self.out, value);
        }
        self
    }

    pub(crate) fn end(self) {
        self.out.push(0);
    }
}
