//! `GET /metrics`: it parses, it counts, and `docs/metrics.md` names what it has.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use tokio::time::timeout;

use crate::support::{PATIENCE, Setup, Site};

/// An answer's series, each with its value, and the names of its metrics.
struct Scrape {
    series: BTreeMap<String, f64>,
    metrics: BTreeSet<String>,
}

impl Scrape {
    async fn of(site: &Site) -> Self {
        let reply = site.get("/metrics").await;
        assert_eq!(reply.status, 200);
        let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        assert_eq!(reply.headers["content-type"], media_type);
        Self::parse(&String::from_utf8(reply.body).unwrap())
    }

    /// Reads the text strictly: what it cannot read fails the test.
    fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").expect("the end is marked");
        let (mut series, mut metrics) = (BTreeMap::new(), BTreeSet::new());
        for line in body.lines() {
            if let Some(comment) = line.strip_prefix("# ") {
                let mut words = comment.splitn(3, ' ');
                let [kind, name, rest] = [(); 3].map(|()| words.next().expect("three words"));
                match (kind, rest) {
                    ("TYPE", "counter") => _ = metrics.insert(format!("{name}_total")),
                    ("TYPE", "info") => _ = metrics.insert(format!("{name}_info")),
                    ("TYPE", "gauge" | "histogram") => _ = metrics.insert(name.to_owned()),
                    ("HELP", help) => assert!(help.ends_with('.'), "{line}"),
                    ("UNIT", unit) => assert!(name.ends_with(unit), "{line}"),
                    _ => panic!("what is {line:?}?"),
                }
                continue;
            }
            let (labelled, value) = line.rsplit_once(' ').expect("a series and its value");
            let name = labelled.split('{').next().unwrap();
            assert!(metrics.iter().any(|metric| name.starts_with(metric)), "{line}: no TYPE");
            let is_new = series.insert(labelled.to_owned(), value.parse().unwrap()).is_none();
            assert!(is_new, "{line}: twice");
        }
        Self { series, metrics }
    }

    fn value(&self, series: &str) -> f64 {
        *self.series.get(series).unwrap_or_else(|| panic!("no {series}: {:#?}", self.series))
    }
}

#[expect(clippy::float_cmp, reason = "counts are whole")]
fn assert_counts(scrape: &Scrape, expected: &[(&str, f64)]) {
    for (series, value) in expected {
        assert_eq!(scrape.value(series), *value, "{series}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_are_those_of_the_manual() {
    let gossip = Some(vec![]);
    let site = Setup { disk_reserve_bytes: 1, gossip, ..Setup::default() }.start().await;
    site.until_ready().await;
    site.done("/work/add", r#"{"n": 1}"#).await;
    site.get("/no/such/path").await.failed(404, "not_found");
    let looked_at_machine = async {
        loop {
            let scrape = Scrape::of(&site).await;
            let looks = ["queue_disk_free_bytes", "queue_wall_clock_ahead_seconds"];
            if looks.iter().all(|look| scrape.metrics.contains(*look)) {
                return scrape;
            }
        }
    };
    let scrape = timeout(PATIENCE, looked_at_machine).await.expect("a look at disk and clock");
    let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let manual = fs::read_to_string(manual).unwrap();
    let rows = manual.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let described: BTreeSet<String> = rows.map(|(name, _)| name.to_owned()).collect();
    assert_eq!(scrape.metrics, described);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_counted_by_queue_and_state() {
    let site = Site::start().await;
    site.done("/work/add", r#"{"queue": "mail", "payload": 1}"#).await;
    site.done("/work/add", r#"{"queue": "mail", "payload": 2}"#).await;
    site.done("/work/add", r#"{"queue": "late", "payload": 3, "delay_ms": 60000}"#).await;
    site.done("/work/claim", r#"{"node_id": "w", "queues": ["mail"]}"#).await;
    let scrape = Scrape::of(&site).await;
    assert_counts(
        &scrape,
        &[
            (r#"queue_jobs{queue="mail",state="pending"}"#, 1.0),
            (r#"queue_jobs{queue="mail",state="claimed"}"#, 1.0),
            (r#"queue_jobs{queue="mail",state="failed"}"#, 0.0),
            (r#"queue_jobs{queue="late",state="scheduled"}"#, 1.0),
            (r#"queue_oldest_pending_age_seconds{queue="late"}"#, 0.0),
            ("queue_queues", 2.0),
            ("queue_rev", 4.0),
            ("queue_tombstones", 0.0),
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_counted_by_the_template_of_their_route_and_never_by_their_path() {
    let site = Site::start().await;
    site.get("/work/get/first").await.failed(404, "not_found");
    site.get("/work/get/second").await.failed(404, "not_found");
    site.get("/made/up").await.failed(404, "not_found");
    site.send("PATCH", "/work/add", &[], b"").await.failed(405, "method_not_allowed");
    site.send("BREW", "/coffee", &[("Host", "evil.example")], b"").await.failed(403, "forbidden");
    // Each is counted before its answer leaves.
    let scrape = Scrape::of(&site).await;
    let get = r#"method="GET",route="/work/get/{work_id}",status="4xx""#;
    assert_counts(
        &scrape,
        &[
            (&format!("queue_http_requests_total{{{get}}}"), 2.0),
            (r#"queue_http_requests_total{method="GET",route="none",status="4xx"}"#, 1.0),
            (r#"queue_http_requests_total{method="other",route="none",status="4xx"}"#, 2.0),
            (r#"queue_http_refused_requests_total{code="not_found"}"#, 3.0),
            (r#"queue_http_refused_requests_total{code="method_not_allowed"}"#, 1.0),
            (r#"queue_http_refused_requests_total{code="forbidden"}"#, 1.0),
            (r#"queue_http_request_duration_seconds_count{route="/work/get/{work_id}"}"#, 2.0),
            (
                r#"queue_http_request_duration_seconds_bucket{le="+Inf",route="/work/get/{work_id}"}"#,
                2.0,
            ),
        ],
    );
    let made_up =
        scrape.series.keys().find(|series| series.contains("made") || series.contains("BREW"));
    assert_eq!(made_up, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_connections_are_those_that_have_not_closed() {
    let site = Site::start().await;
    let held = [site.connect().await, site.connect().await];
    // Its own is one more. Those of `start` may take a moment to be gone, and the held to be accepted.
    let counts = async |expected: f64| {
        while (Scrape::of(&site).await.value("queue_http_open_connections") - expected).abs() > 0.5
        {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, counts(3.0)).await.expect("two and the one that asks");
    drop(held);
    timeout(PATIENCE, counts(1.0)).await.expect("the one that asks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_claim_is_parked_and_the_leader_says_that_it_leads() {
    let site = Site::start().await;
    let claim = site.post("/work/claim", r#"{"node_id": "w", "wait_ms": 60000}"#);
    let parked = async {
        loop {
            let scrape = Scrape::of(&site).await;
            if scrape.value("queue_claims_parked") > 0.0 {
                return scrape;
            }
        }
    };
    let scrape = tokio::select! {
        reply = claim => panic!("nothing to claim: {reply:?}"),
        scrape = timeout(PATIENCE, parked) => scrape.expect("it parks"),
    };
    assert_counts(
        &scrape,
        &[
            ("queue_claims_parked", 1.0),
            ("queue_claims_under_way", 1.0),
            (r#"queue_commands_under_way{lane="holder"}"#, 0.0),
            ("queue_raft_is_leader", 1.0),
            ("queue_raft_leader_known", 1.0),
            ("queue_raft_voters", 1.0),
            ("queue_ready", 1.0),
            (r#"queue_leader_changes_total{cause="start"}"#, 1.0),
        ],
    );
    assert!(scrape.value("queue_raft_term") >= 1.0);
    let committed = scrape.value("queue_raft_commit_index");
    assert!(committed >= scrape.value("queue_raft_applied_index"));
}
