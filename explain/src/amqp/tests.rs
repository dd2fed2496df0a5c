//! Frames by the specification; real ones are among the recordings.

use super::*;
use crate::annotation::covers;

const PUBLISH: &str = "010001 0000001b 003c0028 0000 0a6c6f67735f746f706963 086c6f672e494e464f 01 ce";

fn frames(hexadecimal: &str) -> Vec<u8> {
    hex::decode(hexadecimal.replace(' ', "")).expect("hexadecimal")
}

fn read(bytes: &[u8]) -> Vec<Annotation> {
    let budget = Budget::new();
    let told = annotate(bytes, To::Server, &budget);
    assert!(covers(&told, &(0..bytes.len())), "{told:#?}");
    told
}

fn texts(annotation: &Annotation) -> Vec<&str> {
    annotation.children.iter().map(|child| child.text.as_str()).collect()
}

fn unread_bytes(told: &[Annotation]) -> u32 {
    told.iter().map(|part| part.cost().get(Purpose::Unread)).sum()
}

#[test]
fn a_publish_goes_to_an_exchange_by_a_key() {
    let told = read(&frames(PUBLISH));
    assert_eq!((told[0].bytes(), told[0].text.as_str()), (35, "basic.publish, channel 1"));
    assert_eq!(
        texts(&told[0]),
        [
            "frame header: type 1, channel 1, size 27",
            "class 60, method 40: basic.publish",
            "reserved: 0",
            "exchange: \"logs_topic\"",
            "routing_key: \"log.INFO\"",
            "mandatory",
            "frame end, ce"
        ]
    );
}

#[test]
fn an_ack_has_a_tag_and_says_whether_it_is_for_many() {
    let told = read(&frames("010001 0000000d 003c0050 0000000000000001 00 ce"));
    assert_eq!((told[0].bytes(), told[0].text.as_str()), (21, "basic.ack, channel 1"));
    assert_eq!(texts(&told[0])[2..4], ["delivery_tag: 1", "not multiple"]);
}

#[test]
fn a_message_has_properties_and_a_body_that_may_go_in_several_frames() {
    let body = br#"{"name":"event","data":"hello"}"#;
    let len = format!("{:016x}", body.len());
    let properties = format!("003c 0000 {len} 9080 10 6170706c69636174696f6e2f6a736f6e 02 03 616263");
    let size = frames(&properties).len();
    let header = frames(&format!("020001 {size:08x} {properties} ce"));
    for cut in 1..body.len() {
        let frame = |piece: &[u8]| {
            let len = u32::try_from(piece.len()).expect("short").to_be_bytes();
            [&[BODY, 0, 1][..], &len, piece, &[FRAME_END]].concat()
        };
        let told = read(&[header.clone(), frame(&body[..cut]), frame(&body[cut..])].concat());
        let entry: u32 = told.iter().map(|part| part.cost().get(Purpose::Entry)).sum();
        assert_eq!((unread_bytes(&told), entry), (0, 10), "cut at {cut}: {told:#?}");
    }
    let told = read(&header);
    assert_eq!(
        texts(&told[0])[3..6],
        ["content_type: \"application/json\"", "delivery_mode: 2", "message_id: \"abc\""]
    );
}

#[test]
fn a_password_is_hidden_whatever_the_mechanism_is() {
    let start_ok = |mechanism: &[u8], response: &[u8]| {
        let len = u32::try_from(response.len()).expect("short").to_be_bytes();
        let mechanism_len = u8::try_from(mechanism.len()).expect("short");
        let payload =
            [b"\0\x0a\0\x0b\0\0\0\0", &[mechanism_len][..], mechanism, &len, response, b"\x05en_US"].concat();
        let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&[METHOD, 0, 0][..], &len, &payload, &[FRAME_END]].concat()
    };
    for (mechanism, response) in [
        (&b"PLAIN"[..], &b"\0guest\0swordfish"[..]),
        (b"PLAIN", b"swordfish"),
        (b"PLAIN", b"\0swordfish"),
        (b"AMQPLAIN", b"\x05LOGINS\0\0\0\x05guest\x08PASSWORDS\0\0\0\x09swordfish"),
        (b"OTHER", b"swordfish"),
    ] {
        let bytes = start_ok(mechanism, response);
        let told = read(&bytes);
        assert!(!format!("{told:?}").contains("swordfish"), "{told:#?}");
        let secrets: Vec<_> = told[0].secrets().iter().map(|secret| secret.range.clone()).collect();
        let at = bytes.windows(9).position(|nine| nine == b"swordfish").expect("it is there");
        assert!(secrets.iter().any(|range| range.start <= at && range.end >= at + 9), "{secrets:?}");
        assert_eq!(unread_bytes(&told), 0, "{told:#?}");
    }
    let told = read(&start_ok(b"PLAIN", b"\0guest\0swordfish"));
    assert_eq!(texts(&told[0])[4..6], ["response: PLAIN as \"guest\"", "password: •••"]);
}

#[test]
fn tables_may_be_nested_but_not_without_end() {
    let declare = |table: &[u8]| {
        let len = u32::try_from(table.len()).expect("short").to_be_bytes();
        let payload = [b"\0\x32\0\x0a\0\0\x01q\x02", &len[..], table].concat();
        let len = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&[METHOD, 0, 1][..], &len, &payload, &[FRAME_END]].concat()
    };
    let told = read(&declare(b"\x01aS\0\0\0\x01x\x01bF\0\0\0\x04\x01ct\x01\x01dA\0\0\0\x05I\0\0\0\x07"));
    assert_eq!(unread_bytes(&told), 0, "{told:#?}");
    let mut deep = Vec::new();
    for _ in 0..100 {
        let len = u32::try_from(deep.len()).expect("short").to_be_bytes();
        deep = [b"\x01aF", &len[..], &deep].concat();
    }
    assert!(unread_bytes(&read(&declare(&deep))) > 0);
}

#[test]
fn what_is_no_frame_is_told_as_not_decoded() {
    for bytes in ["01000100", "050000 00000000 ce", "080000 00000000 cf", "030001 00000001 61 ce"] {
        let bytes = frames(bytes);
        assert_eq!(unread_bytes(&read(&bytes)) as usize, bytes.len());
    }
    assert_eq!(read(PROTOCOL)[0].text, "protocol header, AMQP 0 0 9 1");
    assert_eq!(read(&frames("080000 00000000 ce"))[0].text, "heartbeat");
}
