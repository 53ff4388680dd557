use super::*;
use crate::wire::Code;

fn parsed(body: &str) -> AddRequest {
    AddRequest::parse(body.as_bytes()).unwrap()
}

fn refusal(body: &str) -> ApiError {
    AddRequest::parse(body.as_bytes()).unwrap_err()
}

fn payload(job: &AddRequest) -> &str {
    job.payload.as_ref().unwrap().get()
}

#[test]
fn the_seeds_command_becomes_a_typed_job_with_its_fields_as_payload() {
    let job = parsed(
        r#"{"work_type": "selfplay", "board_type": "hex8", "num_players": 2, "num_games": 1000}"#,
    );
    assert_eq!(job.work_type.as_ref().unwrap().as_str(), "selfplay");
    assert_eq!(payload(&job), r#"{"board_type":"hex8","num_players":2,"num_games":1000}"#);
}

#[test]
fn a_payload_is_kept_as_the_bytes_that_came() {
    for text in [r#"{ "a" : 1.0e2, "a":"\u00e9" }"#, "null", "[1, 2 ]", "-0.0", r#""text""#] {
        assert_eq!(payload(&parsed(&format!(r#"{{"payload": {text} }}"#))), text);
        assert_eq!(payload(&parsed(&format!(r#"{{"config": {text} }}"#))), text);
    }
    assert_eq!(payload(&parsed("{}")), "{}");
}

#[test]
fn beside_a_payload_an_unknown_field_is_refused() {
    let error = refusal(r#"{"payload":{},"prio":5}"#);
    assert_eq!((error.code, &error.details["field"]), (Code::InvalidArgument, &"prio".into()));
    assert_eq!(refusal(r#"{"payload":1,"config":2}"#).details["field"], "config");
}

#[test]
fn every_field_is_read() {
    let job = parsed(
        r#"{"payload":1,"work_id":"a:1","queue":"q","work_type":"t","priority":100,"delay_ms":"2s",
            "lease_ms":100,"max_attempts":1000,"backoff":{"initial_ms":"1s","factor":1.5,"jitter":0},
            "expires_in_ms":"1h","depends_on":["x"],"on_dependency_failure":"run","group":"g",
            "tags":{"k":"v"}}"#,
    );
    let golden = r#"{"payload":1,"work_id":"a:1","queue":"q","work_type":"t","priority":100,"delay_ms":2000,"lease_ms":100,"max_attempts":1000,"backoff":{"initial_ms":1000,"factor":1.5,"max_ms":300000,"jitter":0.0},"expires_in_ms":3600000,"depends_on":["x"],"on_dependency_failure":"run","group":"g","tags":{"k":"v"}}"#;
    assert_eq!(serde_json::to_string(&job).unwrap(), golden);
    assert_eq!(serde_json::to_string(&parsed(golden)).unwrap(), golden);
}

#[test]
fn timeout_seconds_is_a_lease_in_seconds() {
    assert_eq!(parsed(r#"{"timeout_seconds":3600}"#).lease_ms, Some(3_600_000));
    assert_eq!(parsed(r#"{"timeout_seconds":"90s"}"#).lease_ms, Some(90_000));
    let error = refusal(r#"{"timeout_seconds":1,"lease_ms":1000}"#);
    assert_eq!(error.details["field"], "timeout_seconds");
}

#[test]
fn each_bad_field_is_named() {
    let cases = [
        (r#"{"priority":101}"#, "priority"),
        (r#"{"priority":-1}"#, "priority"),
        (r#"{"priority":"high"}"#, "priority"),
        (r#"{"queue":"a/b"}"#, "queue"),
        (r#"{"queue":""}"#, "queue"),
        (r#"{"queue":5}"#, "queue"),
        (r#"{"work_type":"a b"}"#, "work_type"),
        (r#"{"work_id":"ä"}"#, "work_id"),
        (r#"{"lease_ms":99}"#, "lease_ms"),
        (r#"{"lease_ms":43200001}"#, "lease_ms"),
        (r#"{"max_attempts":0}"#, "max_attempts"),
        (r#"{"max_attempts":1001}"#, "max_attempts"),
        (r#"{"delay_ms":1,"run_at_ms":1}"#, "run_at_ms"),
        (r#"{"delay_ms":-1}"#, "delay_ms"),
        (r#"{"delay_ms":18446744073709551615}"#, "delay_ms"),
        (r#"{"backoff":5}"#, "backoff"),
        (r#"{"backoff":{"factor":0.5}}"#, "backoff.factor"),
        (r#"{"backoff":{"factor":1e999}}"#, "backoff.factor"),
        (r#"{"backoff":{"jitter":2}}"#, "backoff.jitter"),
        (r#"{"backoff":{"cap":2}}"#, "backoff.cap"),
        (r#"{"depends_on":{"a":1}}"#, "depends_on"),
        (r#"{"on_dependency_failure":"shrug"}"#, "on_dependency_failure"),
        (r#"{"tags":{"a":1}}"#, "tags"),
        (r#"{"tags":{"a":"1","a":"2"}}"#, "tags"),
        (r#"{"payload":1,"payload":2}"#, "payload"),
        (r#"{"x":1,"x":2}"#, "x"),
    ];
    for (body, field) in cases {
        let error = refusal(body);
        assert_eq!((error.code, &error.details["field"]), (Code::InvalidArgument, &field.into()));
    }
}

#[test]
fn seventeen_tags_are_one_too_many() {
    let tags: BTreeMap<_, _> = (0..17).map(|n| (n.to_string(), "v")).collect();
    let body = format!(r#"{{"tags":{}}}"#, serde_json::to_string(&tags).unwrap());
    assert_eq!(refusal(&body).details["field"], "tags");
}

#[test]
fn a_payload_over_its_bound_is_too_large_in_either_form() {
    let text = "x".repeat(PAYLOAD_BYTES_MAX);
    for body in [format!(r#"{{"payload":"{text}"}}"#), format!(r#"{{"anything":"{text}"}}"#)] {
        assert_eq!(refusal(&body).code, Code::PayloadTooLarge);
    }
    let fits = format!(r#"{{"payload":"{}"}}"#, &text[..PAYLOAD_BYTES_MAX - 2]);
    assert!(AddRequest::parse(fits.as_bytes()).is_ok());
}

#[test]
fn one_bad_item_refuses_an_atomic_batch_and_stands_alone_in_another() {
    let body = r#"{"items":[{"a":1},{"priority":101}]ATOMIC}"#;
    let error = AddBatchRequest::parse(body.replace("ATOMIC", "").as_bytes()).unwrap_err();
    assert_eq!(error.details["index"], 1);
    assert_eq!(error.details["field"], "items[1].priority");
    let each = AddBatchRequest::parse(body.replace("ATOMIC", r#","atomic":false"#).as_bytes());
    let each = each.unwrap();
    assert!(!each.atomic && each.items[0].is_ok() && each.items[1].is_err());
}

#[test]
fn a_batch_has_at_most_a_thousand_items() {
    let batch = |count: usize| {
        let body = format!(r#"{{"items":[{}]}}"#, vec!["{}"; count].join(","));
        AddBatchRequest::parse(body.as_bytes())
    };
    assert!(batch(0).is_ok() && batch(1000).is_ok());
    assert_eq!(batch(1001).unwrap_err().details["field"], "items");
}

#[test]
fn answers_have_the_contracts_shape() {
    let answer = AddResponse {
        status: Done::Added,
        work_id: JobId::parse("j1").unwrap(),
        queue: QueueName::parse("default").unwrap(),
        work_type: WorkType::parse("selfplay").unwrap(),
        priority: 50,
        state: JobState::Pending,
        duplicate: false,
        rev: Rev(4711),
    };
    let golden = r#"{"status":"added","work_id":"j1","queue":"default","work_type":"selfplay","priority":50,"state":"pending","duplicate":false,"rev":4711}"#;
    assert_eq!(serde_json::to_string(&answer).unwrap(), golden);
    assert_eq!(serde_json::from_str::<AddResponse>(golden).unwrap(), answer);
    let batch = AddBatchResponse {
        status: Done::Added,
        count: 1,
        work_ids: vec![JobId::parse("j1").unwrap()],
        items: vec![
            Item::Done(AddedItem { work_id: JobId::parse("j1").unwrap(), duplicate: true }),
            Item::Refused(ApiError::new(Code::QueueFull, "Full.")),
        ],
        rev: Rev(7),
    };
    let golden = r#"{"status":"added","count":1,"work_ids":["j1"],"items":[{"work_id":"j1","duplicate":true},{"error":"Full.","code":"queue_full","retryable":true,"applied":"no","details":{}}],"rev":7}"#;
    assert_eq!(serde_json::to_string(&batch).unwrap(), golden);
    assert_eq!(serde_json::from_str::<AddBatchResponse>(golden).unwrap(), batch);
}
