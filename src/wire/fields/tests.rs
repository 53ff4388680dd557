use super::*;

fn refusal(body: &[u8]) -> ApiError {
    Fields::of_body(body).unwrap_err()
}

#[test]
fn what_is_not_one_json_object_is_refused() {
    let cases: [&[u8]; 9] = [
        b"",
        b"  ",
        b"{",
        b"{\"a\":NaN}",
        b"{\"a\":1} x",
        b"{\"a\":1}{}",
        b"{\"a\":\"\xff\"}",
        b"{'a':1}",
        b"{\"a\":01}",
    ];
    for body in cases {
        assert_eq!(refusal(body).code, Code::InvalidJson, "{}", String::from_utf8_lossy(body));
    }
    assert_eq!(refusal(b"[]").code, Code::InvalidArgument);
    assert_eq!(refusal(b"1").details["field"], "body");
    assert_eq!(refusal(b"[]").error, "`body` must be a JSON object.");
}

#[test]
fn a_field_given_twice_is_refused_by_name() {
    let error = refusal(br#"{"queue":"a","queue":"b"}"#);
    assert_eq!((error.code, &error.details["field"]), (Code::InvalidArgument, &"queue".into()));
    assert_eq!(error.error, "`queue` was given twice; send it once.");
}

#[test]
fn deep_json_is_refused_without_recursion() {
    let deep = |levels: usize| {
        format!("{{\"payload\":{}{}}}", "[".repeat(levels), "]".repeat(levels)).into_bytes()
    };
    assert_eq!(refusal(&deep(20_000)).code, Code::InvalidJson);
    assert_eq!(refusal(&deep(JSON_DEPTH_MAX)).code, Code::InvalidJson);
    assert!(Fields::of_body(&deep(JSON_DEPTH_MAX - 1)).is_ok());
    assert!(Fields::of_body(br#"{"payload":"[[[[\"[[["}"#).is_ok());
}

#[test]
fn integers_and_durations_say_their_range() {
    let mut fields = Fields::of_body(br#"{"a":101,"b":"1h 5m","c":1.5,"d":"soon","e":7}"#).unwrap();
    let error = fields.integer("a", 0..=100).unwrap_err();
    assert_eq!(error.error, "`a` must be an integer from 0 to 100.");
    assert_eq!(fields.duration_ms("b", 0..=u64::MAX).unwrap(), Some(3_900_000));
    assert!(fields.integer("c", 0..=100).is_err());
    assert!(fields.duration_ms("d", 0..=100).unwrap_err().error.contains("\"30s\""));
    assert_eq!(fields.duration_seconds("e", 0..=10_000).unwrap(), Some(7000));
    assert!(fields.finish().is_ok());
}

#[test]
fn what_was_not_taken_is_kept_as_it_came() {
    let mut fields = Fields::of_body(br#"{"z": 1.50, "queue":"q", "a\n":[ 1 ]}"#).unwrap();
    assert!(fields.raw("queue").is_some());
    assert_eq!(fields.into_rest(), r#"{"z":1.50,"a\n":[ 1 ]}"#);
}
