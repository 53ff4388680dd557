use super::*;

#[test]
fn a_list_says_what_it_wants_to_see() {
    let all = ListQuery::parse(None).unwrap();
    assert_eq!((all.queue, all.limit, all.after), (None, 100, None));
    assert!(all.states.is_empty() && all.tags.is_empty());
    let query = "queue=q&state=pending,running&state=failed&work_type=t&tag=a:b:c&tag=d:%2C,\
                 &limit=7&after=c1-1f&consistency=stale";
    let some = ListQuery::parse(Some(query)).unwrap();
    assert_eq!(some.states, [JobState::Pending, JobState::Running, JobState::Failed]);
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    assert_eq!(some.tags, [pair("a", "b:c"), pair("d", ",,")]);
    assert_eq!((some.limit, some.after), (7, Some(Cursor(JobNumber(31)))));
    assert_eq!(some.freshness, Freshness::Stale);
}

#[test]
fn each_bad_parameter_is_named() {
    let many = "tag=a:b&".repeat(17);
    for (query, field) in [
        ("state=dead", "state"),
        ("queue=", "queue"),
        ("work_type=a/b", "work_type"),
        ("tag=colourless", "tag"),
        (&*many, "tag"),
        ("limit=1001", "limit"),
        ("after=31", "after"),
        ("status=failed", "status"),
    ] {
        assert_eq!(ListQuery::parse(Some(query)).unwrap_err().details["field"], field, "{query}");
    }
}

#[test]
fn a_place_has_one_text() {
    for number in [0, 31, u64::MAX] {
        let cursor = Cursor(JobNumber(number));
        assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
    }
    for text in ["", "c1-", "c1-01", "c1-1F", "c1-+1", "c2-1", "1f", "c1-10000000000000000"] {
        assert_eq!(Cursor::parse(text), None, "{text}");
    }
}
