use super::*;
use crate::wire::Code;

fn text<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap()
}

#[test]
fn requests_come_back_from_what_they_were_written_as() {
    let start = r#"{"work_id":"j","token":4712}"#;
    assert_eq!(text(&StartRequest::parse(start.as_bytes()).unwrap()), start);
    let complete = r#"{"work_id":"j","token":4712,"result":{ "a":1 },"then":[{"payload":1}]}"#;
    assert_eq!(text(&CompleteRequest::parse(complete.as_bytes()).unwrap()), complete);
    let fail = r#"{"work_id":"j","token":4712,"error":"e","retry":true,"retry_in_ms":5}"#;
    assert_eq!(text(&FailRequest::parse(fail.as_bytes()).unwrap()), fail);
    let release = r#"{"work_id":"j","token":4712,"delay_ms":1000}"#;
    assert_eq!(text(&ReleaseRequest::parse(release.as_bytes()).unwrap()), release);
    let beat =
        r#"{"node_id":"w","items":[{"work_id":"j","token":1,"lease_ms":100,"progress":[1 ]}]}"#;
    assert_eq!(text(&HeartbeatRequest::parse(beat.as_bytes()).unwrap()), beat);
}

#[test]
fn a_heartbeat_of_one_lease_needs_no_list() {
    let one = HeartbeatRequest::parse(br#"{"worker_id":"w","work_id":"j","token":1}"#).unwrap();
    assert_eq!(text(&one), r#"{"node_id":"w","items":[{"work_id":"j","token":1}]}"#);
}

#[test]
fn a_result_of_null_is_a_result() {
    let with = CompleteRequest::parse(br#"{"work_id":"j","token":1,"result":null}"#).unwrap();
    assert_eq!(with.result.unwrap().get(), "null");
}

#[test]
fn each_bad_field_is_named() {
    let fail = |body: &str| FailRequest::parse(body.as_bytes()).unwrap_err();
    assert_eq!(fail(r#"{"token":1}"#).details["field"], "work_id");
    assert_eq!(fail(r#"{"work_id":"j"}"#).details["field"], "token");
    assert_eq!(fail(r#"{"work_id":"j","token":"1"}"#).details["field"], "token");
    assert_eq!(fail(r#"{"work_id":"j","token":9007199254740992}"#).details["field"], "token");
    assert_eq!(fail(r#"{"work_id":"j","token":1,"why":1}"#).details["field"], "why");
    let both = fail(r#"{"work_id":"j","token":1,"retry":false,"retry_in_ms":1}"#);
    assert_eq!(both.details["field"], "retry_in_ms");
    let then = CompleteRequest::parse(br#"{"work_id":"j","token":1,"then":[{"queue":""}]}"#);
    assert_eq!(then.unwrap_err().details["field"], "then[0].queue");
}

#[test]
fn what_is_over_its_bound_is_too_large() {
    let result =
        format!(r#"{{"work_id":"j","token":1,"result":"{}"}}"#, "x".repeat(RESULT_BYTES_MAX));
    assert_eq!(CompleteRequest::parse(result.as_bytes()).unwrap_err().code, Code::PayloadTooLarge);
    let error =
        format!(r#"{{"work_id":"j","token":1,"error":"{}"}}"#, "x".repeat(ERROR_BYTES_MAX + 1));
    assert_eq!(FailRequest::parse(error.as_bytes()).unwrap_err().code, Code::PayloadTooLarge);
}

#[test]
fn one_bad_item_of_complete_batch_stands_alone() {
    let body = br#"{"items":[{"work_id":"j","token":1},{"work_id":"j"}]}"#;
    let batch = CompleteBatchRequest::parse(body).unwrap();
    assert!(batch.items[0].is_ok());
    assert_eq!(batch.items[1].as_ref().unwrap_err().details["index"], 1);
}

#[test]
fn answers_have_the_contracts_shape() {
    let work_id = JobId::parse("j").unwrap();
    let first = SettleResponse {
        status: Done::Completed,
        work_id: work_id.clone(),
        run_at_ms: None,
        then: Vec::new(),
        duplicate: false,
        rev: Rev(9),
    };
    let golden = r#"{"status":"completed","work_id":"j","rev":9}"#;
    assert_eq!(text(&first), golden);
    assert_eq!(serde_json::from_str::<SettleResponse>(golden).unwrap(), first);
    let again =
        SettleResponse { status: Done::Retrying, run_at_ms: Some(5), duplicate: true, ..first };
    let golden = r#"{"status":"retrying","work_id":"j","run_at_ms":5,"duplicate":true,"rev":9}"#;
    assert_eq!(text(&again), golden);
    let beaten = Beaten {
        work_id,
        token: Token(1),
        status: BeatStatus::CancelRequested,
        lease_expires_in_ms: None,
    };
    assert_eq!(text(&beaten), r#"{"work_id":"j","token":1,"status":"cancel_requested"}"#);
}
