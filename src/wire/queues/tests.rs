use super::*;

fn set(body: &str) -> SetQueueRequest {
    SetQueueRequest::parse(body.as_bytes()).unwrap()
}

#[test]
fn what_is_not_named_stays_and_null_clears() {
    assert_eq!(set(""), SetQueueRequest::default());
    assert_eq!(set("{}"), SetQueueRequest::default());
    let some =
        set(r#"{"paused":true,"max_jobs":null,"default_lease_ms":"1m","rate_per_second":5}"#);
    assert_eq!(some.paused, Patch::Set(true));
    assert_eq!((some.max_jobs, some.max_bytes), (Patch::Clear, Patch::Keep));
    assert_eq!((some.default_lease_ms, some.rate_per_second), (Patch::Set(60_000), Patch::Set(5)));
}

#[test]
fn a_change_is_written_as_it_is_read() {
    let body = r#"{"paused":false,"max_jobs":null,"max_bytes":9007199254740991,"default_lease_ms":100,"max_attempts":1000,"max_leased":1,"rate_per_second":null,"request_id":"r"}"#;
    assert_eq!(serde_json::to_string(&set(body)).unwrap(), body);
    assert_eq!(serde_json::to_string(&set("{}")).unwrap(), "{}");
}

#[test]
fn each_setting_out_of_its_range_is_named() {
    for (field, value) in [
        ("paused", "1"),
        ("max_jobs", "0"),
        ("max_bytes", "9007199254740992"),
        ("default_lease_ms", "99"),
        ("default_lease_ms", "\"13h\""),
        ("max_attempts", "1001"),
        ("max_leased", "\"3\""),
        ("rate_per_second", "1000001"),
        ("rate_per_second", "0.5"),
        ("jobs", "1"),
        ("queue", "\"q\""),
    ] {
        let body = format!(r#"{{"{field}":{value}}}"#);
        let fault = SetQueueRequest::parse(body.as_bytes()).unwrap_err();
        assert_eq!(fault.details["field"], field, "{body}");
    }
}

#[test]
fn an_operation_has_an_id_or_nothing() {
    assert_eq!(OperationRequest::parse(b" ").unwrap().request_id, None);
    let named = OperationRequest::parse(br#"{"request_id":"r1"}"#).unwrap();
    assert_eq!(named.request_id.unwrap().as_str(), "r1");
    assert_eq!(OperationRequest::parse(br#"{"force":1}"#).unwrap_err().details["field"], "force");
    assert!(OperationRequest::parse(b"[]").is_err());
}

#[test]
fn a_list_of_names_is_bounded() {
    let read = |query| NamesQuery::parse(query, QueueName::parse);
    let all = read(None).unwrap();
    assert_eq!((all.limit, all.after, all.freshness), (1000, None, Freshness::Linearizable));
    let some = read(Some("limit=2&after=q&consistency=stale")).unwrap();
    assert_eq!((some.limit, some.freshness), (2, Freshness::Stale));
    assert_eq!(some.after.unwrap().as_str(), "q");
    for (query, field) in [("limit=0", "limit"), ("limit=1001", "limit"), ("after=", "after")] {
        assert_eq!(read(Some(query)).unwrap_err().details["field"], field);
    }
}

#[test]
fn a_queue_comes_back_from_its_answer() {
    let golden = r#"{"status":"created","queue":"q","paused":false,"max_jobs":10,"max_bytes":null,"default_lease_ms":null,"max_attempts":null,"max_leased":null,"rate_per_second":null,"jobs":3,"bytes":6,"leased":1,"by_status":{"pending":2,"claimed":1},"oldest_pending_ms":7,"rev":9}"#;
    let read: SetQueueResponse = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), golden);
}
