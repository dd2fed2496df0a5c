//! Captures between a client and a server in Go, 1.19 and 1.27.

use super::*;
use crate::annotation::covers;

/// A first call, its answer, a second call, an error.
const CALL: &str = "2fff81030101075265717565737401ff82000102010d536572766963654d6574686f64010c000103536571010600000016ff82011\
    15250435365727665722e4c6f67496e666f002aff830301010a5250435061796c6f616401ff8400010201044e616d65010c00010444617461010c000\
    00015ff8401056576656e740109736f6d65206461746100";
const ANSWER: &str = "3aff8503010108526573706f6e736501ff86000103010d536572766963654d6574686f64010c00010353657101060001054572726f\
    72010c00000016ff8601115250435365727665722e4c6f67496e666f00220c001f50726f636573736564207061796c6f616420766961205250433a65\
    76656e74";
const AGAIN: &str =
    "18ff8201115250435365727665722e4c6f67496e666f01010015ff8401056576656e740109736f6d65206461746100";
const REFUSAL: &str = "24ff8601115250435365727665722e4c6f67496e666f0102010a6d6f6e676f20646f776e000aff87030102ff8800000003ff88\
    00";
const FROM_GO_1_27: &str = "2e7f030101075265717565737401ff80000102010d536572766963654d6574686f64010c000103536571010600000016f\
    f8001115250435365727665722e4c6f67496e666f0027ff83030101075061796c6f616401ff8400010201044e616d65010c00010444617461010c00\
    00000dff8401056576656e7401017800";
/// A struct with a slice, a map and a number besides.
const MORE: &str = "2fff81030101075265717565737401ff82000102010d536572766963654d6574686f64010c000103536571010600000016ff82011\
    15250435365727665722e4c6f67496e666f0046ff89030102ff8a00010701054c6576656c010c0001044e616d65010c000105457874726101ff8c000\
    10444617461010c0001014d01ff8e00010146010800010142010200000013ff8b020101055b5d696e7401ff8c00010400001eff8d0401010e6d61705\
    b737472696e675d696e7401ff8e00010c0104000026ff8a01056572726f7201056576656e7401030204fe0258010178010101610101fef83f010100";

fn bytes(hexadecimal: &[&str]) -> Vec<u8> {
    hex::decode(hexadecimal.concat().replace(char::is_whitespace, "")).expect("hexadecimal")
}

fn read(bytes: &[u8], to: To) -> Vec<Annotation> {
    let budget = Budget::new();
    let told = annotate(bytes, to, &budget);
    assert!(covers(&told, &(0..bytes.len())), "{told:#?}");
    told
}

fn sum(told: &[Annotation], purpose: Purpose) -> u32 {
    told.iter().map(|part| part.cost().get(purpose)).sum()
}

fn texts(annotation: &Annotation) -> Vec<&str> {
    annotation.children.iter().map(|child| child.text.as_str()).collect()
}

#[test]
fn a_call_defines_its_types_once() {
    let told = read(&bytes(&[CALL, AGAIN]), To::Server);
    assert_eq!(sum(&told, Purpose::Unread), 0, "{told:#?}");
    let titles: Vec<_> = told.iter().map(|part| part.text.as_str()).collect();
    assert_eq!(
        titles,
        [
            "type definition 65: \"Request\"",
            "\"Request\"",
            "type definition 66: \"RPCPayload\"",
            "\"RPCPayload\"",
            "\"Request\"",
            "\"RPCPayload\""
        ]
    );
    let definitions: usize =
        told.iter().filter(|part| part.kind == "definition").map(Annotation::bytes).sum();
    assert_eq!(definitions, 91, "{told:#?}");
    assert_eq!(
        texts(&told[3]),
        ["length 21", "type id 66", "Name: \"event\"", "Data: \"some data\"", "0: end of the struct"]
    );
    assert!(texts(&told[4]).contains(&"Seq: 1"), "{told:#?}");
    assert_eq!(sum(&told, Purpose::Entry), 28);
}

#[test]
fn an_answer_is_a_string_or_an_error() {
    let told = read(&bytes(&[ANSWER, REFUSAL]), To::Client);
    assert_eq!(sum(&told, Purpose::Unread), 0, "{told:#?}");
    assert_eq!(told[2].text, "a string");
    assert!(texts(&told[2]).contains(&"\"Processed payload via RPC:event\""), "{told:#?}");
    assert!(texts(&told[3]).contains(&"Error: \"mongo down\""), "{told:#?}");
}

#[test]
fn other_numbers_and_other_fields_are_read_by_their_definitions() {
    for case in [FROM_GO_1_27, MORE] {
        let told = read(&bytes(&[case]), To::Server);
        assert_eq!(sum(&told, Purpose::Unread), 0, "{told:#?}");
    }
}

#[test]
fn what_is_cut_off_or_undefined_is_told_as_not_decoded() {
    let whole = bytes(&[CALL]);
    for len in 1..whole.len() {
        read(&whole[..len], To::Server);
    }
    let told = read(&bytes(&["03ff8400"]), To::Server);
    assert_eq!(sum(&told, Purpose::Unread), 4);
}

#[test]
fn a_type_id_without_a_positive_twin_is_left_unread() {
    let told = read(&bytes(&["09f8ffffffffffffffff"]), To::Server);
    assert!(sum(&told, Purpose::Unread) > 0, "{told:#?}");
}

#[test]
fn the_name_of_a_field_is_not_shown_as_it_came() {
    let call = CALL
        .replace(char::is_whitespace, "")
        .replace("0d536572766963654d6574686f64", "0d53657236000c634d6574686f64");
    let told = read(&bytes(&[&call]), To::Server);
    fn all(told: &[Annotation], texts: &mut Vec<String>) {
        for part in told {
            texts.push(part.text.clone());
            all(&part.children, texts);
        }
    }
    let mut texts = Vec::new();
    all(&told, &mut texts);
    assert!(texts.iter().any(|text| text.contains("Ser6\\u{0}\\u{c}cMethod")), "{texts:#?}");
    assert!(!texts.iter().any(|text| text.contains(char::is_control)), "{texts:#?}");
}
