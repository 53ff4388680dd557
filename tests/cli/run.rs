//! `queue run`.

use rustix::process::Signal;

use crate::harness::{PATIENCE, Server, User, finish, signal, until};

/// api 4.run.server, 4.run.output
#[test]
fn a_command_runs_as_a_job_on_the_server_that_answers() {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    user.set("QUEUE_ADDR", &server.address);
    let script = "echo out; echo err >&2; echo $QUEUE_WORK_ID $QUEUE_ATTEMPT; cat";
    let said = user.queue(&["run", "--", "sh", "-c", script]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let lines: Vec<_> = said.stdout.lines().collect();
    assert_eq!(lines[0], "out");
    let (id, attempt) = lines[1].split_once(' ').unwrap();
    assert_eq!(attempt, "1");
    assert!(said.stderr.starts_with("err\n"), "{}", said.stderr);
    let summary = said.stderr.lines().last().unwrap();
    assert!(summary.starts_with(&format!("job {id} completed in ")), "{summary}");
    assert!(summary.ends_with("(attempt 1, exit 0)"), "{summary}");
    let job = user.queue(&["get", id, "-o", "json"]).with_code(0);
    assert!(job.contains("\"result\":{\"exit_code\":0}"), "{job}");
}

/// api 4.run.embedded, 4.run.status
#[test]
fn without_a_server_the_process_is_one_and_leaves_nothing_behind() {
    let user = User::new();
    let home = || std::fs::read_dir(user.home.path()).unwrap().count();
    let nobody = ["--addr", "http://127.0.0.1:1"];
    for (script, code, how) in [("exit 0", 0, "completed"), ("exit 3", 3, "failed")] {
        let said = user.queue(&[&["run"], &nobody[..], &["--", "sh", "-c", script]].concat());
        assert_eq!(said.code, Some(code), "{}", said.stderr);
        assert!(said.stderr.contains(how), "{}", said.stderr);
        assert!(said.stderr.contains("no server answers at http://127.0.0.1:1"), "{}", said.stderr);
        assert_eq!(home(), 0, "the temporary folder is gone");
    }
    let missing = user.queue(&[&["run"], &nobody[..], &["--", "/nonexistent"]].concat());
    assert!(missing.complaint(127).contains("cannot run /nonexistent"));
}

#[test]
fn a_named_directory_keeps_the_history_of_what_ran() {
    let user = User::new();
    let data = user.path("kept").display().to_string();
    let said = user.queue(&["run", "--data-dir", &data, "--", "sh", "-c", "echo $QUEUE_WORK_ID"]);
    let id = said.with_code(0);
    let script = format!("\"$0\" get {id}");
    let queue = env!("CARGO_BIN_EXE_queue");
    let said = user.queue(&["run", "--data-dir", &data, "--", "sh", "-c", &script, queue]);
    assert_eq!(said.with_code(0), format!("{id} completed"));
}

#[test]
fn an_interrupt_ends_the_command_and_all_that_it_started() {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    user.set("QUEUE_ADDR", &server.address);
    let mark = user.path("started");
    let script = format!(
        "sleep 600 & echo $QUEUE_WORK_ID $! > {}.new; mv {0}.new {0}; wait",
        mark.display()
    );
    let running = user.command(&["run", "--", "sh", "-c", &script]).spawn().unwrap();
    assert!(until(PATIENCE, || mark.exists()));
    let said = std::fs::read_to_string(&mark).unwrap();
    let (id, grandchild) = said.trim().split_once(' ').unwrap();
    signal(&running, Signal::INT);
    // It ends only when the pipe is closed, which the grandchild holds too.
    assert_eq!(finish(running).code, Some(130));
    assert!(until(PATIENCE, || has_ended(grandchild)));
    assert_eq!(user.queue(&["get", id]).with_code(0), format!("{id} failed"));
}

#[test]
fn a_cancelled_job_ends_its_command() {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    user.set("QUEUE_ADDR", &server.address);
    let mark = user.path("started");
    let script =
        format!("echo $QUEUE_WORK_ID > {}.new; mv {0}.new {0}; exec sleep 600", mark.display());
    let words = ["run", "--lease", "300ms", "--", "sh", "-c", &script];
    let running = user.command(&words).spawn().unwrap();
    assert!(until(PATIENCE, || mark.exists()));
    let id = std::fs::read_to_string(&mark).unwrap();
    user.queue(&["cancel", id.trim()]).with_code(0);
    let said = finish(running);
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("was cancelled"), "{}", said.stderr);
}

#[test]
fn a_command_whose_server_is_gone_ends_with_its_lease() {
    let mut user = User::new();
    let server = Server::start(&user, &user.path("data"));
    user.set("QUEUE_ADDR", &server.address);
    let mark = user.path("started");
    let script = format!("touch {}; exec sleep 600", mark.display());
    let words = ["run", "--lease", "500ms", "--", "sh", "-c", &script];
    let running = user.command(&words).spawn().unwrap();
    assert!(until(PATIENCE, || mark.exists()));
    drop(server);
    let said = finish(running);
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("lost its lease"), "{}", said.stderr);
}

/// A process that is gone, or dead and only not yet collected by the test environment's first process.
fn has_ended(id: &str) -> bool {
    let Ok(status) = std::fs::read_to_string(format!("/proc/{id}/stat")) else { return true };
    status.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}
