//! Bytes as text. What was sent is a stranger's: a terminal obeys control characters, and those that turn the direction of
//! writing, so none is shown as it is.

use std::fmt::Write;

/// Longest value that is shown in full, in characters.
const SHOWN_CHARS: usize = 48;

/// What stands for what nobody may see. Its length says nothing.
pub(crate) const HIDDEN: &str = "•••";

/// Bytes as text in quotes; what is long is cut, and what is no text is in hexadecimal.
pub(crate) fn quoted(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(4 * SHOWN_CHARS)];
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // Cut within a character.
        Err(error) if error.error_len().is_none() && head.len() < bytes.len() => {
            std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return hex(bytes),
    };
    let shown: String = text.chars().take(SHOWN_CHARS).collect();
    let quoted = format!("\"{}\"", escaped(&shown));
    if shown.len() < bytes.len() { format!("{quoted}… ({} B)", bytes.len()) } else { quoted }
}

/// Bytes as text that is a word by itself, such as a header.
pub(crate) fn plain(bytes: &[u8]) -> String {
    let quoted = quoted(bytes);
    match quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) => text.to_owned(),
        None => quoted,
    }
}

/// Bytes in hexadecimal; what is long is cut.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const SHOWN_BYTES: usize = 16;
    let shown = hex::encode(&bytes[..bytes.len().min(SHOWN_BYTES)]);
    if bytes.len() > SHOWN_BYTES { format!("{shown}… ({} B)", bytes.len()) } else { shown }
}

/// Text with what a terminal would obey written out.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            char if is_obeyed(char) => {
                let _ = write!(escaped, "\\u{{{:x}}}", char as u32);
            }
            char => escaped.push(char),
        }
    }
    escaped
}

/// Whether a terminal might do something else with it than show it.
pub fn is_obeyed(char: char) -> bool {
    char.is_control()
        || matches!(char, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_shown_as_text_cut_where_it_is_long_and_in_hexadecimal_where_it_is_none() {
        for (bytes, shown) in [
            (&b"hello"[..], "\"hello\""),
            ("привет\n".as_bytes(), "\"привет\\n\""),
            (b"\x1b[31m", "\"\\u{1b}[31m\""),
            (b"\xff\x00", "ff00"),
        ] {
            assert_eq!(quoted(bytes), shown);
        }
        assert_eq!(quoted("ж".repeat(200).as_bytes()), format!("\"{}\"… (400 B)", "ж".repeat(48)));
        assert_eq!(plain(b"POST"), "POST");
    }
}
