//! Finished jobs: those that the queue still has, and those that only the archive has.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use quorate::{
    archive::{DiskArchive, Options},
    node::{Archive, Clock, FileSystem, MachineClock},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{PATIENCE, Setup, Site};

/// The queue's retention and a little more, ms: so much later a finished job is in the archive.
const RETENTION_MS: u64 = 3_600_000 + 1_000;

/// The machine's clock, and what the test has let pass besides.
#[derive(Debug)]
struct Ahead {
    machine: MachineClock,
    ahead_ms: AtomicU64,
}

impl Clock for Ahead {
    fn monotonic_ms(&self) -> u64 {
        self.machine.monotonic_ms() + self.ahead_ms.load(Ordering::Relaxed)
    }

    fn wall_ms(&self) -> u64 {
        self.machine.wall_ms() + self.ahead_ms.load(Ordering::Relaxed)
    }
}

/// A node whose retention a test lets pass, and its archive.
struct Bench {
    site: Site,
    clock: Arc<Ahead>,
    archive: Arc<DiskArchive>,
    _directory: TempDir,
}

impl Bench {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let archive = Arc::new(DiskArchive::new(Options {
            directory: directory.path().join("archive"),
            jobs_max: 1_000,
            bytes_max: 256 << 20,
            reserve_bytes: 0,
            space: Arc::new(FileSystem),
        }));
        archive.start();
        let ahead_ms = AtomicU64::new(0);
        let clock = Arc::new(Ahead { machine: MachineClock::start(), ahead_ms });
        let setup = Setup { archive: archive.clone(), clock: clock.clone(), ..Setup::default() };
        let site = setup.start().await;
        site.until_ready().await;
        Self { site, clock, archive, _directory: directory }
    }

    /// Adds a job, claims it and lets it end so.
    async fn finish(&self, id: &str, verb: &str, more: Value) {
        self.site
            .done("/work/add", &json!({"work_id": id, "payload": {"id": id}}).to_string())
            .await;
        let claimed = self.site.done("/work/claim", r#"{"node_id":"w1"}"#).await;
        let mut call = json!({"work_id": id, "token": claimed["work"]["token"]});
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.site.done(&format!("/work/{verb}"), &call.to_string()).await;
    }

    /// Lets the retention of all that has ended pass, until the archive has so many jobs.
    async fn archive_all(&self, jobs: u64) {
        self.clock.ahead_ms.fetch_add(RETENTION_MS, Ordering::Relaxed);
        let archived = async {
            while self.archive.status().jobs < jobs {
                // An entry that nothing depends on, whose time passes in the state.
                self.site.post("/work/cancel", r#"{"work_id":"nobody"}"#).await;
            }
        };
        tokio::time::timeout(PATIENCE, archived).await.expect("the jobs get to the archive");
    }

    async fn history(&self, query: &str) -> Vec<(String, bool)> {
        let answer = self.site.get(&format!("/work/history{query}")).await.json();
        let jobs = answer["history"].as_array().unwrap();
        assert_eq!(answer["count"], jobs.len(), "{answer}");
        assert!(answer["rev"].is_u64() && answer.get("archive_unavailable").is_none(), "{answer}");
        let shown = |job: &Value| {
            (job["work_id"].as_str().unwrap().to_owned(), job.get("archived") == Some(&json!(true)))
        };
        jobs.iter().map(shown).collect()
    }
}

fn named(jobs: &[(String, bool)]) -> Vec<&str> {
    jobs.iter().map(|(id, _)| id.as_str()).collect()
}

// Claim: the history goes from the state on into the archive, the last job first, and says which is which.
#[tokio::test]
async fn history_goes_on_from_the_state_into_the_archive_newest_first() {
    let bench = Bench::start().await;
    assert_eq!(bench.history("").await, []);
    bench.finish("a", "complete", json!({"result": {"n": 1}})).await;
    bench.finish("b", "fail", json!({"error": "boom", "retry": false})).await;
    bench.archive_all(2).await;
    bench.finish("c", "complete", json!({})).await;
    bench.finish("d", "fail", json!({"retry": false})).await;
    let all = bench.history("").await;
    let expected = [("d", false), ("c", false), ("b", true), ("a", true)];
    assert_eq!(all, expected.map(|(id, is_archived)| (id.to_owned(), is_archived)));
    assert_eq!(bench.history("?consistency=stale").await, all);
    assert_eq!(named(&bench.history("?limit=3").await), ["d", "c", "b"]);
    assert_eq!(named(&bench.history("?limit=2").await), ["d", "c"]);
    assert_eq!(named(&bench.history("?status=failed").await), ["d", "b"]);
    assert_eq!(named(&bench.history("?status=expired,completed").await), ["c", "a"]);
    assert_eq!(bench.history("?status=cancelled").await, []);
    let answer = bench.site.get("/work/history?status=completed").await.json();
    let archived = &answer["history"][1];
    assert_eq!(archived["result"], json!({"n": 1}));
    assert_eq!(archived["payload"], json!({"id": "a"}));
    assert_eq!(archived["attempts"][0]["end"], "completed");
}

#[tokio::test]
async fn a_history_that_is_asked_for_wrongly_is_told_which_field() {
    let site = Site::start().await;
    for (query, field) in [
        ("status=pending", "status"),
        ("status=done", "status"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("consistency=maybe", "consistency"),
        ("worker=w", "worker"),
    ] {
        let details =
            site.get(&format!("/work/history?{query}")).await.failed(400, "invalid_argument");
        assert_eq!(details["field"], field);
    }
}

// Claim: a job that has left the state comes from the archive, whole; what its tombstone knows is exact,
// and after the tombstone it is still found.
/// api 1.retention.archive
#[tokio::test]
async fn get_finds_in_the_archive_what_the_state_has_only_a_tombstone_of_or_nothing() {
    let bench = Bench::start().await;
    bench.finish("a", "complete", json!({"result": [7]})).await;
    let before = bench.site.get("/work/get/a").await.json();
    let token = before["attempts"][0]["token"].clone();
    bench.archive_all(1).await;
    let get = async || bench.site.get("/work/get/a?wait_ms=1s").await.json();
    let buried = get().await;
    assert_eq!((&buried["archived"], buried.get("tombstone")), (&json!(true), None), "{buried}");
    assert_eq!((&buried["token"], &buried["state"]), (&token, &json!("completed")));
    for field in ["payload", "result", "attempts", "added_at_ms", "ended_at_ms", "queue"] {
        assert_eq!(buried[field], before[field], "{field}");
    }
    bench.finish("b", "complete", json!({})).await;
    bench.archive_all(2).await;
    let forgotten = get().await;
    assert_eq!((&forgotten["archived"], forgotten.get("token")), (&json!(true), None));
    assert_eq!(forgotten["result"], json!([7]));
    bench.site.get("/work/get/nobody").await.failed(404, "not_found");
}

// Situation: an id is used again after its tombstone has gone, and the second job never got to the
// archive. Claim: the first is not shown in its place.
#[tokio::test]
async fn an_earlier_job_of_the_same_id_does_not_stand_for_a_tombstone() {
    let bench = Bench::start().await;
    bench.finish("same", "fail", json!({"retry": false})).await;
    bench.archive_all(1).await;
    bench.finish("x", "complete", json!({})).await;
    bench.archive_all(2).await;
    bench.finish("same", "complete", json!({})).await;
    assert!(bench.archive.close(PATIENCE));
    let second = bench.site.get("/work/get/same").await.json();
    assert_eq!((&second["state"], second.get("archived")), (&json!("completed"), None));
    bench.clock.ahead_ms.fetch_add(RETENTION_MS, Ordering::Relaxed);
    let buried = async {
        while bench.site.get("/work/get/same").await.json().get("tombstone").is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, buried).await.expect("it is buried");
}

// Claim: without its archive a node is ready, serves, and says what it lacks.
#[tokio::test]
async fn a_node_whose_archive_is_off_stays_ready_and_says_so() {
    let bench = Bench::start().await;
    bench.finish("a", "complete", json!({})).await;
    bench.archive_all(1).await;
    let status = bench.site.get("/status").await.json();
    assert_eq!(status["archive"]["available"], true, "{status}");
    assert_eq!((&status["archive"]["jobs"], &status["archive"]["written"]), (&json!(1), &json!(1)));
    bench.finish("b", "complete", json!({})).await;
    assert!(bench.archive.close(Duration::from_secs(30)));
    let status = bench.site.get("/status").await.json();
    assert_eq!(status["archive"]["available"], false);
    assert_eq!(bench.site.get("/ready").await.status, 200);
    let answer = bench.site.get("/work/history").await.json();
    assert_eq!((&answer["count"], &answer["history"][0]["work_id"]), (&json!(1), &json!("b")));
    assert!(answer["archive_unavailable"].is_string(), "{answer}");
    assert_eq!(bench.site.get("/work/get/a").await.json()["tombstone"], true);
}

// Claim: an answer holds at most about 8 MiB, of the state and of the archive.
#[tokio::test]
async fn a_history_of_large_jobs_is_cut_to_what_one_answer_holds() {
    let bench = Bench::start().await;
    let add = async |id: String| {
        let payload = "x".repeat(1_000_000);
        bench.site.done("/work/add", &json!({"work_id": id, "payload": payload}).to_string()).await;
        bench.site.done("/work/cancel", &json!({"work_id": id}).to_string()).await;
    };
    for number in 0..10 {
        add(format!("old-{number}")).await;
    }
    bench.archive_all(10).await;
    for number in 0..3 {
        add(format!("new-{number}")).await;
    }
    let reply = bench.site.get("/work/history").await;
    assert!(reply.body.len() < (8 << 20) + 100_000, "{}", reply.body.len());
    let jobs = bench.history("").await;
    let expected = ["new-2", "new-1", "new-0", "old-9", "old-8", "old-7", "old-6", "old-5"];
    assert_eq!(named(&jobs), expected);
}
