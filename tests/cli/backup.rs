//! `queue backup`: a whole file or none.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    thread,
};

use serde_json::{Value, json};

use crate::harness::{Server, User};

/// A server with some jobs.
fn served(user: &User) -> Server {
    let server = Server::start(user, &user.path("data"));
    let jobs: Vec<String> = (0..200)
        .map(|number| json!({"work_id": format!("j{number}"), "payload": "x".repeat(4096)}))
        .map(|job| job.to_string())
        .collect();
    let file = user.write("jobs.ndjson", &jobs.join("\n"));
    user.queue(&["add", "--file", &file, "--addr", &server.address]).with_code(0);
    server
}

/// A server that answers one request with these bytes and closes.
fn canned(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        stream.write_all(&answer).unwrap();
    });
    address
}

/// A chunked answer with this body; `is_ended`: with its last chunk.
fn chunked(body: &[u8], is_ended: bool) -> Vec<u8> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\n\
                transfer-encoding: chunked\r\n\r\n";
    let size = format!("{:x}\r\n", body.len());
    let end: &[u8] = if is_ended { b"\r\n0\r\n\r\n" } else { b"\r\n" };
    [head.as_bytes(), size.as_bytes(), body, end].concat()
}

/// api 4.backup
#[test]
fn a_backup_becomes_a_file_and_says_so() {
    let user = User::new();
    let server = served(&user);
    let file = user.path("whole.backup");
    let name = file.display().to_string();
    let said = user.queue(&["backup", &name, "-o", "json", "--addr", &server.address]).with_code(0);
    let said: Value = serde_json::from_str(&said).unwrap();
    let bytes = fs::read(&file).unwrap();
    assert_eq!(said, json!({"status": "written", "file": name, "bytes": bytes.len()}));
    assert!(bytes.starts_with(b"QUEUEBAK") && bytes.ends_with(b"BAKENDOK"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o077, 0, "for its owner alone");
    assert!(!user.path("whole.backup.partial").exists());
    // It replaces a former one.
    fs::write(&file, "old").unwrap();
    user.queue(&["backup", &name, "--addr", &server.address]).with_code(0);
    assert!(fs::read(&file).unwrap().starts_with(b"QUEUEBAK"));
}

#[test]
fn a_backup_goes_to_stdout_as_it_is() {
    let user = User::new();
    let server = served(&user);
    let output = user.command(&["backup", "-", "--addr", &server.address]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.starts_with(b"QUEUEBAK") && output.stdout.ends_with(b"BAKENDOK"));
}

#[test]
fn a_backup_that_is_cut_or_damaged_leaves_no_file() {
    let user = User::new();
    let server = served(&user);
    let whole = user.path("whole.backup");
    let name = whole.display().to_string();
    user.queue(&["backup", &name, "--addr", &server.address]).with_code(0);
    let whole = fs::read(whole).unwrap();
    let half = &whole[..whole.len() / 2];
    let mut damaged = whole.clone();
    damaged[half.len()] ^= 1;
    let file = user.path("torn.backup");
    let name = file.display().to_string();
    for (case, answer, reason) in [
        ("the connection is cut", chunked(half, false), "broke off"),
        ("the answer ends early", chunked(half, true), "its end is missing"),
        ("a byte has changed", chunked(&damaged, true), "checksum"),
        ("it is something else", chunked(b"<html>hello</html>", true), "not a backup"),
    ] {
        let complaint = user.queue(&["backup", &name, "--addr", &canned(answer)]).complaint(5);
        assert!(complaint.contains(reason), "{case}: {complaint}");
        assert!(!file.exists() && !user.path("torn.backup.partial").exists(), "{case}");
    }
    // What was there before stays.
    fs::write(&file, "the former one").unwrap();
    user.queue(&["backup", &name, "--addr", &canned(chunked(half, true))]).complaint(5);
    assert_eq!(fs::read_to_string(&file).unwrap(), "the former one");
}

#[test]
fn a_file_that_cannot_be_written_and_a_server_that_is_not_there_are_told_apart() {
    let user = User::new();
    let server = served(&user);
    let nowhere = user.path("no/such/folder/x.backup").display().to_string();
    let complaint = user.queue(&["backup", &nowhere, "--addr", &server.address]).complaint(1);
    assert!(complaint.contains("cannot write") && complaint.contains(&nowhere), "{complaint}");
    assert_eq!(server.terminate(), Some(0));
    let file = user.path("x.backup").display().to_string();
    user.queue(&["backup", &file, "--addr", "http://127.0.0.1:1"]).complaint(5);
    assert!(!user.path("x.backup").exists() && !user.path("x.backup.partial").exists());
}
