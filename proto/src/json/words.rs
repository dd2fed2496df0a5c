//! What the parser says of JSON, in words for whoever wrote it.

/// What is wrong, without the place: [`serde_json::Error::line`] and `column` have it, in bytes.
pub fn in_plain_words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    let plain = match what {
        "EOF while parsing a string" => "it ends within a text: the closing \" is missing",
        "EOF while parsing an object" => "it ends before the object does: a } is missing",
        "EOF while parsing a list" => "it ends before the list does: a ] is missing",
        "EOF while parsing a value" => "it ends where a field or a value is missing",
        "expected value" | "expected ident" => "no value that JSON knows: a text stands in double quotes",
        "expected `:`" => "a : is missing between a field and its value",
        "expected `,` or `}`" => "a , or a } is missing",
        "expected `,` or `]`" => "a , or a ] is missing",
        "key must be a string" => {
            "the name of a field is missing: it stands in double quotes, and no comma comes before a }"
        }
        "trailing comma" => "nothing comes after the last comma: leave it out",
        "trailing characters" => "more text comes after its end",
        "invalid escape" => {
            "after a \\ in a text comes one of \" \\ / b f n r t, or u with four hexadecimal digits: for a \\ write \\\\"
        }
        "lone leading surrogate in hex escape"
        | "unexpected end of hex escape"
        | "invalid unicode code point" => "half of a character: a \\ud800 goes with a \\udc00",
        "invalid number" => "no number that JSON knows",
        "number out of range" => "a number beyond all bounds",
        "recursion limit exceeded" => "nested too deeply: 127 levels are read",
        other if other.starts_with("control character") => {
            "a control character stands in a text as it is: write it as \\u0009, for instance"
        }
        other => other,
    };
    plain.to_owned()
}
