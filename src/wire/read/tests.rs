use super::*;

#[test]
fn a_read_says_how_fresh_and_how_patient_it_is() {
    let read = ReadQuery::parse(Some("wait_ms=5s&consistency=stale")).unwrap();
    assert_eq!(read, ReadQuery { wait_ms: Some(5000), freshness: Freshness::Stale });
    assert_eq!(ReadQuery::parse(None).unwrap(), ReadQuery::default());
    for (query, field) in
        [("consistency=maybe", "consistency"), ("wait_ms=-1", "wait_ms"), ("x=1", "x")]
    {
        assert_eq!(ReadQuery::parse(Some(query)).unwrap_err().details["field"], field);
    }
}

#[test]
fn a_read_that_never_waits_takes_no_waiting_time() {
    assert_eq!(Freshness::parse(Some("consistency=stale")).unwrap(), Freshness::Stale);
    assert_eq!(Freshness::parse(None).unwrap(), Freshness::Linearizable);
    for (query, field) in [("consistency=maybe", "consistency"), ("wait_ms=5", "wait_ms")] {
        assert_eq!(Freshness::parse(Some(query)).unwrap_err().details["field"], field);
    }
}

#[test]
fn a_job_comes_back_from_its_answer() {
    let golden = r#"{"work_id":"j","state":"running","queue":"q","work_type":"t","payload":{ "a":1 },"priority":50,"attempt":1,"max_attempts":3,"attempts":[{"attempt":1,"token":5,"node_id":"w","claimed_at_ms":2}],"token":5,"node_id":"w","lease_expires_in_ms":10,"added_at_ms":1,"tags":{},"rev":6}"#;
    let read: GetResponse = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), golden);
}

#[test]
fn a_queues_counts_stand_beside_its_other_fields() {
    let golden = r#"{"total_items":3,"by_status":{"pending":2,"completed":1},"by_type":{"t":3},"queues":{"q":{"pending":2,"completed":1,"oldest_pending_ms":7,"paused":false}},"is_leader":true,"leader_id":"n1","rev":9}"#;
    let read: WorkStatus = serde_json::from_str(golden).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), golden);
    let newer = golden.replace(r#""paused":false"#, r#""paused":false,"rate_per_second":5"#);
    assert_eq!(serde_json::from_str::<WorkStatus>(&newer).unwrap(), read);
}
