//! What clients get, the good and the hostile ones, over real connections.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;
use crate::present::serve::access::Token;
use crate::present::serve::board::Board;
use crate::present::serve::picture::Picture;

/// A server whose board has a picture that stays fresh.
fn server(token: Option<Token>) -> Server {
    let board = Arc::new(Board::default());
    board.give(Picture { fresh_until_ns: u64::MAX, backend: "fentry", ..Picture::default() });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    Server::start(listener, None, Arc::new(Shared::new(board, token, 50))).unwrap()
}

/// What comes back for `request`, until the other side ends it.
fn asked(server: &Server, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    // A server that gives up on us may have closed already.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

fn get(server: &Server, path: &str, headers: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n{headers}\r\n");
    String::from_utf8_lossy(&asked(server, &request)).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[test]
fn each_path_has_its_answer() {
    let server = server(None);
    for (path, headers, want, holds) in [
        ("/", "", "200", "/findings"),
        ("/healthz", "", "200", "ok"),
        ("/readyz", "", "200", "ready"),
        ("/metrics", "", "200", "\n# TYPE twtrace_sockets_created_total counter\n"),
        ("/metrics?x=1", "Accept: application/openmetrics-text\r\n", "200", "\n# EOF\n"),
        ("/metrics", "", "200", "twtrace_backend_info{backend=\"fentry\"} 1\n"),
        ("/findings", "", "200", "\"severity\":\"fine\""),
        ("/etc/passwd", "", "404", "/metrics"),
    ] {
        let answer = get(&server, path, headers);
        assert!(status(&answer) == want && answer.contains(holds), "{path}: {answer}");
    }
    let answer = asked(&server, "DELETE /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    let answer = String::from_utf8_lossy(&answer).into_owned();
    assert!(status(&answer) == "405" && answer.contains("allow: GET, HEAD"), "{answer}");
    // Each was counted as it was answered.
    let answer = get(&server, "/metrics", "");
    for series in ["{code=\"200\"} 7", "{code=\"404\"} 1", "{code=\"405\"} 1"] {
        assert!(answer.contains(&format!("twtrace_http_answers_total{series}\n")), "{series}: {answer}");
    }
    server.stop().unwrap();
}

#[test]
fn an_answer_is_compressed_for_those_who_take_it() {
    let server = server(None);
    let request = "GET /metrics HTTP/1.1\r\nHost: here\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n";
    let answer = asked(&server, request);
    let at = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    assert!(String::from_utf8_lossy(&answer[..at]).contains("content-encoding: gzip"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(&answer[at..]).read_to_string(&mut text).unwrap();
    assert!(text.starts_with("# HELP twtrace_sockets_live "), "{text}");
    server.stop().unwrap();
}

#[test]
fn who_has_no_token_gets_nothing_but_probes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "s3cret\n").unwrap();
    let server = server(Some(Token::read(&path).unwrap()));
    for (path, headers, want) in [
        ("/metrics", "", "401"),
        ("/metrics", "Authorization: Bearer s3crew\r\n", "401"),
        ("/metrics", "Authorization: Basic s3cret\r\n", "401"),
        ("/metrics", "Authorization: Bearer s3cret\r\n", "200"),
        ("/findings", "", "401"),
        ("/", "", "401"),
        ("/nothing", "", "401"),
        ("/healthz", "", "200"),
        ("/readyz", "", "200"),
    ] {
        assert_eq!(status(&get(&server, path, headers)), want, "{path} {headers}");
    }
    server.stop().unwrap();
}

#[test]
fn a_trace_that_is_not_attached_is_not_ready() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::start(listener, None, Arc::new(Shared::new(Arc::default(), None, 50))).unwrap();
    for (path, want) in [("/readyz", "503"), ("/metrics", "503"), ("/findings", "503"), ("/healthz", "200")] {
        assert_eq!(status(&get(&server, path, "")), want, "{path}");
    }
    server.stop().unwrap();
}

#[test]
fn heads_have_an_end() {
    let server = server(None);
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(4 << 20));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: x\r\n".repeat(HEAD_LINES + 1));
    let path = format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20));
    for hostile in [long.as_str(), many.as_str(), path.as_str(), "\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"] {
        let answer = String::from_utf8_lossy(&asked(&server, hostile)).into_owned();
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    assert_eq!(status(&get(&server, "/healthz", "")), "200");
    server.stop().unwrap();
}

#[test]
fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let server = server(None);
    let crowd: Vec<TcpStream> =
        (0..3 * MOST).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    // Half a request each.
    for mut stream in crowd.iter().rev().take(MOST) {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: he");
    }
    let answer = get(&server, "/metrics", "");
    // All came before this: each beyond the most there may be cost one that had said nothing.
    let refused = format!("twtrace_http_connections_refused_total {}\n", 2 * MOST + 1);
    assert!(status(&answer) == "200" && answer.contains(&refused), "{answer}");
    drop(crowd);
    server.stop().unwrap();
}

#[test]
fn one_connection_takes_many_requests() {
    let server = server(None);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    for _ in 0..17 {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(b"ok\n") {
            let mut part = [0; 512];
            let length = stream.read(&mut part).unwrap();
            assert_ne!(length, 0, "{}", String::from_utf8_lossy(&answer));
            answer.extend_from_slice(&part[..length]);
        }
    }
    server.stop().unwrap();
}
