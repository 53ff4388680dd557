use super::world::World;
use crate::{Event, MemberState, Profile};

#[test]
fn explore() {
    let get = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
    };
    let n = get("N", 5) as usize;
    let loss = get("LOSS", 0) as u32;
    let runs = get("RUNS", 20);
    let quiet = get("QUIET", 60_000);
    let profile = match get("P", 1) {
        0 => Profile::Local,
        1 => Profile::Lan,
        _ => Profile::Wan,
    };
    let (mut suspects, mut downs, mut sent, mut bytes) = (0, 0, 0, 0);
    let (mut probe, mut first, mut all) = (vec![], vec![], vec![]);
    let started = std::time::Instant::now();
    for seed in 0..runs {
        let mut world = World::of(n, profile, seed);
        world.loss_percent = loss;
        world.run_ms(quiet + seed * 13 % 100);
        suspects += world.count(|e| matches!(e, Event::Suspect(_)));
        downs += world.downs();
        sent += world.sent.0;
        bytes += world.sent.1;
        world.kill(0);
        let start = world.now_us / 1000;
        let mut f = None;
        let mut p = None;
        let a = loop {
            world.run_ms(5);
            let t = world.now_us / 1000 - start;
            let states: Vec<_> = (1..n).map(|v| world.state(v, 0)).collect();
            if p.is_none() && states.iter().any(|s| *s != Some(MemberState::Alive)) {
                p = Some(t)
            }
            if f.is_none() && states.iter().any(|s| *s == Some(MemberState::Down)) {
                f = Some(t)
            }
            if states.iter().all(|s| *s == Some(MemberState::Down)) || t > 60_000 {
                break t;
            }
        };
        probe.push(p.unwrap_or(99999));
        first.push(f.unwrap_or(99999));
        all.push(a);
    }
    for v in [&mut probe, &mut first, &mut all] {
        v.sort();
    }
    let q = |v: &Vec<u64>, p: usize| v[(v.len() - 1) * p / 100];
    let node_s = (runs * n as u64 * quiet) as f64 / 1000.0;
    println!(
        "n {n} loss {loss} {profile:?}: suspects {suspects} downs {downs} per node-s: {:.1} datagrams {:.0} B | probe {} {} {} first {} {} {} all {} {} {} | cpu {:?}",
        sent as f64 / node_s,
        bytes as f64 / node_s,
        q(&probe, 50),
        q(&probe, 95),
        q(&probe, 100),
        q(&first, 50),
        q(&first, 95),
        q(&first, 100),
        q(&all, 50),
        q(&all, 95),
        q(&all, 100),
        started.elapsed()
    );
}
