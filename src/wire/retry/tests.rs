use super::*;

fn retry(body: &str) -> RetryRequest {
    RetryRequest::parse(body.as_bytes()).unwrap()
}

#[test]
fn one_job_is_named_by_its_id() {
    let one = retry(r#"{"work_id":"j","dry_run":true,"request_id":"r"}"#);
    assert_eq!(one.which, Retried::Job { work_id: JobId::parse("j").unwrap() });
    assert!(one.dry_run);
}

#[test]
fn jobs_of_a_queue_are_the_failed_ones_unless_said() {
    let queue = QueueName::parse("q").unwrap();
    let jobs = retry(r#"{"queue":"q"}"#);
    let failed = RetriedJobs { queue: queue.clone(), state: JobState::Failed, limit: 100 };
    assert_eq!((jobs.which, jobs.dry_run), (Retried::Jobs(failed), false));
    let jobs = retry(r#"{"queue":"q","state":"expired","limit":1000}"#);
    let expired = RetriedJobs { queue, state: JobState::Expired, limit: 1000 };
    assert_eq!(jobs.which, Retried::Jobs(expired));
}

#[test]
fn a_retry_is_written_as_it_is_read() {
    for body in [
        r#"{"work_id":"j"}"#,
        r#"{"queue":"q","state":"cancelled","limit":5,"dry_run":true,"request_id":"r"}"#,
    ] {
        assert_eq!(serde_json::to_string(&retry(body)).unwrap(), body);
    }
}

#[test]
fn each_bad_field_is_named() {
    for (body, field) in [
        ("{}", "work_id"),
        (r#"{"work_id":"j","queue":"q"}"#, "queue"),
        (r#"{"state":"failed","work_id":"j"}"#, "state"),
        (r#"{"work_id":"j","limit":1}"#, "limit"),
        (r#"{"queue":"q","state":"pending"}"#, "state"),
        (r#"{"queue":"q","state":"dead"}"#, "state"),
        (r#"{"queue":"q","limit":0}"#, "limit"),
        (r#"{"queue":"q","limit":1001}"#, "limit"),
        (r#"{"queue":"q","dry_run":"yes"}"#, "dry_run"),
        (r#"{"queue":"q","all":true}"#, "all"),
    ] {
        let fault = RetryRequest::parse(body.as_bytes()).unwrap_err();
        assert_eq!(fault.details["field"], field, "{body}");
    }
}
