//! A server that is ordered about over HTTP.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use serde_json::Value;

use crate::harness::{Server, User};

/// One request over HTTP; the status and the JSON of its answer.
fn ask(server: &Server, method: &str, path: &str, body: &str) -> (u16, Value) {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    write!(stream, "{head}Content-Length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}

/// The setting of that name: its value and where that came from.
fn setting(config: &Value, key: &str) -> (String, String) {
    let settings = config["settings"].as_array().unwrap();
    let setting = settings.iter().find(|setting| setting["key"] == key).unwrap();
    let text = |field: &str| setting[field].as_str().unwrap().to_owned();
    (text("value"), text("origin"))
}

fn pair(value: &str, origin: &str) -> (String, String) {
    (value.to_owned(), origin.to_owned())
}

#[test]
fn a_node_that_is_told_to_shut_down_answers_and_ends_well() {
    let user = User::new();
    let server = Server::start(&user, &user.path("data"));
    let (status, answer) = ask(&server, "POST", "/admin/shutdown", "");
    assert_eq!((status, answer["status"].as_str()), (202, Some("shutting_down")));
    let port = server.port;
    assert_eq!(server.ended(), Some(0), "as after SIGTERM");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "the port is free");
}

#[test]
fn settings_are_those_of_print_config_and_say_where_they_came_from() {
    let mut user = User::new();
    user.set("QUEUE_DRAIN_MS", "1500");
    let server = Server::start(&user, &user.path("data"));
    let (status, config) = ask(&server, "GET", "/admin/config", "");
    assert_eq!(status, 200);
    assert_eq!(setting(&config, "node_id"), pair("n1", "flag"));
    assert_eq!(setting(&config, "drain_ms"), pair("1500", "QUEUE_DRAIN_MS"));
    assert_eq!(setting(&config, "hold_ms"), pair("5000", "default"));
    let printed = user.queue(&["serve", "--print-config", "-o", "json"]).with_code(0);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    let keys = |config: &Value| -> Vec<Value> {
        config["settings"].as_array().unwrap().iter().map(|line| line["key"].clone()).collect()
    };
    assert_eq!(keys(&config), keys(&printed));
}

#[test]
fn the_log_and_the_hold_change_while_the_node_runs_and_nothing_else_does() {
    let user = User::new();
    let server = Server::start(&user, &user.path("data"));
    let (status, config) =
        ask(&server, "POST", "/admin/config", r#"{"log": "error", "hold_ms": "2s"}"#);
    assert_eq!(status, 200, "{config}");
    assert_eq!(setting(&config, "hold_ms"), pair("2000", "admin/config"));
    assert_eq!(setting(&config, "log"), pair("error", "admin/config"));
    for (body, field, reason) in [
        (r#"{"listen": "127.0.0.1:1", "hold_ms": 1}"#, "listen", "start it again"),
        (r#"{"hold_ms": 1, "log": "loud"}"#, "log", "`loud` is no level"),
        (r#"{"hold_ms": 1, "lgo": "debug"}"#, "lgo", "is no setting"),
        (r#"{"hold_ms": 60001}"#, "hold_ms", "60000"),
    ] {
        let (status, error) = ask(&server, "POST", "/admin/config", body);
        assert_eq!((status, error["details"]["field"].as_str()), (400, Some(field)), "{error}");
        assert!(error["error"].as_str().unwrap().contains(reason), "{error}");
    }
    let (_, config) = ask(&server, "GET", "/admin/config", "");
    assert_eq!(setting(&config, "hold_ms"), pair("2000", "admin/config"), "all or nothing");
    let quiet = server.log(&user);
    let (status, _) = ask(&server, "POST", "/admin/config", r#"{"log": "info"}"#);
    assert_eq!(status, 200);
    let log = server.log(&user);
    let since = log.strip_prefix(&quiet).unwrap();
    assert!(since.contains("settings were changed"), "it says so at its new level: {since:?}");
    assert!(!quiet.contains("settings were changed"), "and it did not at `error`: {quiet}");
}

#[test]
fn a_request_is_held_for_the_new_time_and_no_longer() {
    let user = User::new();
    // It waits for two others that never come, so whatever needs a leader is held.
    let port = crate::harness::two_ports();
    let (listen, data) = (port.to_string(), user.path("data").display().to_string());
    let others = format!("127.0.0.1:{},127.0.0.1:1,127.0.0.1:2", port + 1);
    let words = ["serve", "--listen", &listen, "--data-dir", &data, "--hold-ms", "60000"];
    let words = [&words[..], &["--bootstrap-expect", "3", "--join", &others]].concat();
    let server = Server::spawn(&user, port, &words);
    let is_up = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    assert!(crate::harness::until(crate::harness::PATIENCE, is_up), "{}", server.log(&user));
    let (status, _) = ask(&server, "POST", "/admin/config", r#"{"hold_ms": 1}"#);
    assert_eq!(status, 200);
    let asked_at = std::time::Instant::now();
    let (status, error) = ask(&server, "POST", "/work/add", "{}");
    assert_eq!((status, error["applied"].as_str()), (503, Some("no")), "{error}");
    assert!(asked_at.elapsed().as_secs() < 30, "not the minute of its flag");
}
