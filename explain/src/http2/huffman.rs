//! HPACK's Huffman code: RFC 7541, 5.2.

use std::sync::LazyLock;

use super::tables::CODE_BITS;

/// The symbol that no string may have; its first bits fill the last byte.
const END: u16 = 256;

/// The codes of one length: the first of them, and the symbols, in their order.
#[derive(Debug, Default)]
struct Codes {
    first: u32,
    symbols: Vec<u16>,
}

/// By the length in bits.
static BY_BITS: LazyLock<[Codes; 31]> = LazyLock::new(|| {
    let mut by_bits: [Codes; 31] = std::array::from_fn(|_| Codes::default());
    for (symbol, bits) in (0..).zip(CODE_BITS) {
        by_bits[usize::from(bits)].symbols.push(symbol);
    }
    let mut next = 0;
    for codes in &mut by_bits {
        next *= 2;
        codes.first = next;
        next += u32::try_from(codes.symbols.len()).expect("at most 257");
    }
    by_bits
});

/// The text that was packed; `None` if it was not.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::with_capacity(packed.len() * 8 / 5);
    let (mut code, mut bits) = (0_u32, 0_usize);
    for byte in packed {
        for at in (0..8).rev() {
            code = code << 1 | u32::from(byte >> at & 1);
            bits += 1;
            let codes = BY_BITS.get(bits)?;
            let Some(symbol) = code.checked_sub(codes.first).and_then(|at| codes.symbols.get(at as usize))
            else {
                continue;
            };
            // The end of the string is never sent as a whole.
            text.push(u8::try_from(*symbol).ok().filter(|_| *symbol != END)?);
            (code, bits) = (0, 0);
        }
    }
    // Less than a byte is left, and it is all ones.
    (bits < 8 && code + 1 == 1 << bits).then_some(text)
}

/// As many bytes as there are, which unpack to noughts: for what nobody may see.
pub(crate) fn noughts(bytes: usize) -> Vec<u8> {
    /// The code of `0` is five bits, all zero.
    const BITS: usize = 5;
    let mut packed = vec![0; bytes];
    let padding = bytes * 8 % BITS;
    if let Some(last) = packed.last_mut() {
        *last = (1 << padding) - 1;
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_specification_are_unpacked() {
        for (packed, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("25a849e95ba97d7f", "custom-key"),
            ("25a849e95bb8e8b4bf", "custom-value"),
            ("aec3771a4b", "private"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
            (
                "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ),
        ] {
            let packed = hex::decode(packed).expect("hexadecimal");
            assert_eq!(unpack(&packed).as_deref(), Some(text.as_bytes()));
        }
    }

    #[test]
    fn what_is_not_filled_with_ones_or_has_the_end_in_it_is_none() {
        for packed in [&b"\x00"[..], b"\xff", b"\xff\xff\xff\xff", b"\xff\xff\xff\xfc"] {
            assert_eq!(unpack(packed), None, "{packed:?}");
        }
        assert_eq!(unpack(b""), Some(Vec::new()));
    }

    #[test]
    fn what_stands_for_a_secret_can_be_unpacked() {
        for bytes in 0..20 {
            let text = unpack(&noughts(bytes)).expect("sound");
            assert_eq!(text, vec![b'0'; bytes * 8 / 5]);
        }
    }
}
