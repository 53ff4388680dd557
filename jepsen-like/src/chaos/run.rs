//! A run from its first operation to its verdict.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use jepsen_like::final_read::{JobLine, JobView, ReadEnd};
use serde_json::Value;
use tokio::{runtime::Builder, task::LocalSet};

use super::{
    RunArgs,
    client::{Client, Nodes},
    recorder::Recorder,
    report::{Faults, Report},
    story::{self, Happened},
};
use crate::{
    chance::Chance,
    cluster::{Cluster, Victim},
    exit::Failure,
    failover::Evidence,
    setup::{Setup, print, tell},
};

/// Clients of each kind.
const PRODUCERS: usize = 12;
const WORKERS: usize = 20;
/// How long the clients work before anything goes wrong.
const BASELINE: Duration = Duration::from_secs(3);
/// How long a write through each node may take once all is healed.
const BARRIER: Duration = Duration::from_mins(1);
/// So many jobs are read at once.
const PAGE: usize = 500;

/// The exit code.
pub(crate) fn run(arguments: &RunArgs) -> Result<u8, Failure> {
    let needs_hub = arguments.faults.iter().any(|class| class.is_of_the_network());
    let setup = Setup::begin(&arguments.cluster, needs_hub)?;
    let folder = folder(&arguments.store, setup.seed)?;
    let report = setup.with_cluster(|cluster| {
        let report = play(cluster, &setup, arguments, &folder);
        keep_logs(cluster, &folder);
        report
    })?;
    let results = folder.join("results.json");
    let text = serde_json::to_string_pretty(&report).expect("a report serializes");
    fs::write(&results, text).map_err(Failure::harness(results.display().to_string()))?;
    print(&report, || report.text(), arguments.cluster.output)?;
    tell(&format!("kept: {}", folder.display()));
    Ok(report.verdict().code())
}

/// A folder of this run's own.
fn folder(store: &Path, seed: u64) -> Result<PathBuf, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let folder = store.join(format!("run/{now}-{seed}"));
    fs::create_dir_all(&folder).map_err(Failure::harness(folder.display().to_string()))?;
    Ok(folder)
}

fn keep_logs(cluster: &Cluster, folder: &Path) {
    for node in &cluster.nodes {
        // A log that cannot be kept is no reason to throw the verdict away.
        drop(fs::copy(cluster.log_path(&node.label), folder.join(format!("{}.log", node.label))));
    }
}

fn play(
    cluster: &mut Cluster,
    setup: &Setup,
    arguments: &RunArgs,
    folder: &Path,
) -> Result<Report, Failure> {
    cluster.wait_settled("the cluster is settled before the run")?;
    let begun = Instant::now();
    let recorder = Arc::new(Recorder::new(&folder.join("history.ndjson"), begun)?);
    let nodes: Nodes = cluster.nodes.iter().map(|node| (node.label.clone(), node.http)).collect();
    let clients = Clients::start(&recorder, &nodes, setup.seed, arguments.rate)?;
    std::thread::park_timeout(BASELINE);
    let first_term = greatest_term(cluster);
    let happened = go_wrong(cluster, setup, arguments, begun)?;
    let worked = begun.elapsed();
    cluster.wait_ready("all nodes are ready once everything is healed")?;
    clients.finish();
    let terms = greatest_term(cluster).saturating_sub(first_term);
    tell("all is healed: a new term, a write through each node, and every job as each node has it");
    begin_a_term(cluster)?;
    write_through_each(&recorder, &nodes, setup.seed)?;
    for node in 0..cluster.nodes.len() {
        read(cluster, node, &recorder)?;
    }
    let (findings, tally) = recorder.finish()?;
    Ok(Report::new(
        &findings,
        &tally,
        Faults { asked: &arguments.faults, happened, terms },
        worked,
        setup.circumstances(),
    ))
}

/// One fault after the other, until the time is over; then nothing is wrong any more.
fn go_wrong(
    cluster: &mut Cluster,
    setup: &Setup,
    arguments: &RunArgs,
    begun: Instant,
) -> Result<Vec<Happened>, Failure> {
    let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (mut chance, mut left, mut happened) = (Chance::of(setup.seed), vec![], vec![]);
    while begun.elapsed() < BASELINE + arguments.time {
        let planned = story::next(&mut chance, &mut left, &arguments.faults);
        let from = begun.elapsed();
        let (under, nodes) = planned.begin(cluster, begun)?;
        std::thread::park_timeout(planned.lasts);
        let evidence = under.end(cluster)?;
        let misbehaved = matches!(evidence, Evidence::Misbehaved(_));
        let (in_force, note) = match evidence {
            Evidence::InForce => (true, None),
            Evidence::Misbehaved(what) => (true, Some(what)),
            Evidence::None(what) => (false, Some(what)),
        };
        let class = planned.class.name();
        let fault = Happened {
            class,
            nodes,
            from_ms: ms(from),
            until_ms: ms(begun.elapsed()),
            in_force,
            misbehaved,
            note,
        };
        if arguments.cluster.verbose {
            let Happened { class, nodes, from_ms, until_ms, note, .. } = &fault;
            let note = note.as_deref().unwrap_or("in force");
            tell(&format!("  {from_ms} to {until_ms} ms: {class} of {}: {note}", nodes.join(", ")));
        }
        happened.push(fault);
        std::thread::park_timeout(planned.rest);
    }
    Ok(happened)
}

fn greatest_term(cluster: &Cluster) -> u64 {
    let terms =
        (0..cluster.nodes.len()).filter_map(|node| cluster.election(node)?["term"].as_u64());
    terms.max().unwrap_or(0)
}

/// The leader dies: an entry of an old term is below the writes to come, or can never commit.
fn begin_a_term(cluster: &mut Cluster) -> Result<(), Failure> {
    let leader = cluster.eventually("all nodes know the leader", || cluster.leader())?;
    let term = greatest_term(cluster);
    let leader = Victim::Node(leader);
    cluster.process_of(leader)?.signal(rustix::process::Signal::KILL)?;
    cluster.restart(leader)?;
    cluster.wait_ready("all nodes are ready in a new term")?;
    cluster.eventually("a new term has a leader", || {
        let is_new = greatest_term(cluster) > term;
        cluster.leader().filter(|_| is_new)
    })?;
    Ok(())
}

fn write_through_each(recorder: &Arc<Recorder>, nodes: &Nodes, seed: u64) -> Result<(), Failure> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::harness("starting a runtime"))?;
    for (index, (label, _)) in nodes.iter().enumerate() {
        let is_over = Arc::default();
        let number = PRODUCERS + WORKERS + index;
        let client = Client::new(recorder, nodes, number, seed, &is_over, Duration::ZERO);
        let is_written = LocalSet::new().block_on(&runtime, client.write_through(index, BARRIER));
        if !is_written {
            let limit = BARRIER.as_secs();
            return Err(Failure::Cluster(format!("{label} took no write within {limit} s")));
        }
    }
    Ok(())
}

/// Every job as one node has it.
fn read(cluster: &Cluster, node: usize, recorder: &Recorder) -> Result<(), Failure> {
    let (label, address) = (cluster.nodes[node].label.clone(), cluster.nodes[node].http);
    let (mut after, mut rev, mut jobs) = (None, 0, 0);
    loop {
        let page = read_page(cluster, address, after.as_deref())?;
        rev = page["rev"].as_u64().unwrap_or(rev);
        for item in page["items"].as_array().into_iter().flatten() {
            let job: JobView = serde_json::from_value(item.clone()).map_err(|error| {
                Failure::Cluster(format!("{label} has a job that is none: {error}: {item}"))
            })?;
            jobs += 1;
            recorder.final_job(JobLine { node: label.clone(), job });
        }
        after = page["next"].as_str().map(str::to_owned);
        if after.is_none() {
            recorder.final_end(ReadEnd { node: label, rev, jobs });
            return Ok(());
        }
    }
}

fn read_page(cluster: &Cluster, at: SocketAddr, after: Option<&str>) -> Result<Value, Failure> {
    let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
    let path = format!("/work/list?limit={PAGE}{after}");
    cluster.eventually("a page of the jobs is read", || cluster.control.get(at, &path))
}

/// The clients of a run, all on one thread.
struct Clients {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Clients {
    fn start(
        recorder: &Arc<Recorder>,
        nodes: &Nodes,
        seed: u64,
        rate: u32,
    ) -> Result<Self, Failure> {
        let is_over = Arc::<AtomicBool>::default();
        let (recorder, nodes, over) =
            (Arc::clone(recorder), Arc::clone(nodes), Arc::clone(&is_over));
        let clients = u32::try_from(PRODUCERS + WORKERS).expect("few");
        let pause = Duration::from_secs(1) * clients / rate;
        let thread = std::thread::Builder::new()
            .name("clients".to_owned())
            .spawn(move || {
                let Ok(runtime) = Builder::new_current_thread().enable_all().build() else {
                    return;
                };
                LocalSet::new().block_on(&runtime, async {
                    let of = |number| Client::new(&recorder, &nodes, number, seed, &over, pause);
                    let producers =
                        (0..PRODUCERS).map(|number| tokio::task::spawn_local(of(number).produce()));
                    let mut all: Vec<_> = producers.collect();
                    all.extend(
                        (PRODUCERS..PRODUCERS + WORKERS)
                            .map(|number| tokio::task::spawn_local(of(number).work())),
                    );
                    for client in all {
                        drop(client.await);
                    }
                });
            })
            .map_err(Failure::harness("starting the clients"))?;
        Ok(Self { is_over, thread })
    }

    /// They begin nothing more; waits until each has given up what it had begun.
    fn finish(self) {
        self.is_over.store(true, Ordering::Relaxed);
        drop(self.thread.join());
    }
}
