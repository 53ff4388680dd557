use super::*;
use crate::wire::Code;

fn claim(body: &str, query: Option<&str>) -> Result<ClaimRequest, ApiError> {
    ClaimRequest::parse(ClaimKind::One, body.as_bytes(), query)
}

fn batch(body: &str) -> Result<ClaimRequest, ApiError> {
    ClaimRequest::parse(ClaimKind::Batch, body.as_bytes(), None)
}

#[test]
fn the_seeds_command_names_only_the_worker() {
    let mut expected = ClaimRequest::new(WorkerId::parse("my-node").unwrap());
    assert_eq!(claim(r#"{"node_id": "my-node"}"#, None).unwrap(), expected);
    assert_eq!(claim(r#"{"worker_id": "my-node"}"#, None).unwrap(), expected);
    expected.work_types = vec![WorkType::parse("t").unwrap()];
    assert_eq!(claim(r#"{"node_id":"my-node","capabilities":["t"]}"#, None).unwrap(), expected);
}

#[test]
fn the_query_says_the_same_as_the_body() {
    let body = r#"{"node_id":"7","queues":["a","b"],"work_types":["t"],"lease_ms":30000,"wait_ms":20000,"request_id":"r"}"#;
    let query = "node_id=7&queues=a,b&capabilities=t&lease_ms=30000&wait_ms=20s&request_id=r";
    let by_body = claim(body, None).unwrap();
    assert_eq!(by_body, claim("", Some(query)).unwrap());
    assert_eq!(by_body, claim("{}", Some(query)).unwrap());
    assert_eq!(serde_json::to_string(&by_body).unwrap(), body);
    assert_eq!(claim(body, Some("node_id=7")).unwrap_err().details["field"], "node_id");
}

#[test]
fn each_bad_field_is_named() {
    let cases = [
        ("{}", "node_id"),
        (r#"{"node_id":"a","worker_id":"a"}"#, "worker_id"),
        (r#"{"node_id":"a","wait_ms":60001}"#, "wait_ms"),
        (r#"{"node_id":"a","lease_ms":1}"#, "lease_ms"),
        (r#"{"node_id":"a","queues":["/"]}"#, "queues"),
        (r#"{"node_id":"a","max":1}"#, "max"),
        (r#"{"node_id":"a","labels":[]}"#, "labels"),
    ];
    for (body, field) in cases {
        assert_eq!(claim(body, None).unwrap_err().details["field"], field, "{body}");
    }
    assert_eq!(batch(r#"{"node_id":"a","max":0}"#).unwrap_err().details["field"], "max");
    assert_eq!(batch(r#"{"node_id":"a","max_items":1000}"#).unwrap().max, Some(1000));
}

#[test]
fn a_claim_lists_at_most_a_hundred_queues_and_a_hundred_kinds() {
    for field in ["queues", "work_types"] {
        let of = |count: usize| {
            let names = vec!["a"; count];
            claim(&serde_json::json!({"node_id": "n", field: names}).to_string(), None)
        };
        of(CLAIM_NAMES_MAX).unwrap();
        let refused = of(CLAIM_NAMES_MAX + 1).unwrap_err();
        assert_eq!(
            (refused.code, &refused.details["field"]),
            (Code::InvalidArgument, &field.into())
        );
    }
}

#[test]
fn answers_have_the_contracts_shape() {
    let golden = r#"{"status":"claimed","work":{"work_id":"j","queue":"q","work_type":"t","payload":{ "a":1 },"priority":50,"attempt":1,"max_attempts":3,"token":4712,"lease_ms":30000,"lease_expires_in_ms":29998,"added_at_ms":1,"tags":{}},"rev":4712}"#;
    let read: ClaimResponse = serde_json::from_str(golden).unwrap();
    assert!(matches!(read.work, Some(Work::Granted(_))));
    assert_eq!(serde_json::to_string(&read).unwrap(), golden);
    let golden = r#"{"status":"no_work_available","work":null,"rev":3}"#;
    let read: ClaimResponse = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), golden);
    let golden = r#"{"status":"claimed","count":1,"items":[{"work_id":"j","token":5,"lost":true,"state":"completed"}],"rev":9}"#;
    let read: ClaimBatchResponse = serde_json::from_str(golden).unwrap();
    assert!(matches!(read.items[0], Work::Lost(_)));
    assert_eq!(serde_json::to_string(&read).unwrap(), golden);
}
