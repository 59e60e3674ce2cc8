//! Servers for many connections, each of which does what the path of a request says.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

/// How many listen.
const SERVERS: usize = 40;

/// The ways to fail.
pub(crate) const FAULTS: [&str; 11] = [
    "close",
    "reset",
    "half-head",
    "half-body",
    "reset-body",
    "garbage",
    "gzip",
    "500",
    "503",
    "silent",
    "stall",
];

/// Says where they listen, and serves until the input ends.
pub(crate) fn serve_until_told() {
    let listeners: Vec<TcpListener> =
        (0..SERVERS).map(|_| TcpListener::bind("127.0.0.1:0").expect("a loopback port")).collect();
    let addresses = listeners.iter().map(|one| one.local_addr().expect("it is bound").to_string());
    println!("{}", addresses.collect::<Vec<_>>().join(" "));
    for listener in listeners {
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                std::thread::spawn(move || serve(socket));
            }
        });
    }
    let _ = std::io::stdin().read(&mut [0; 1]);
}

fn serve(socket: TcpStream) {
    let _ = socket.set_nodelay(true);
    let Ok(copy) = socket.try_clone() else { return };
    let mut reader = BufReader::new(copy);
    while let Some(path) = read_request(&mut reader) {
        if !answer(&socket, &mut reader, path.trim_start_matches('/')) {
            return;
        }
    }
}

/// Whether the connection goes on.
fn answer(mut socket: &TcpStream, reader: &mut BufReader<TcpStream>, path: &str) -> bool {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 200\r\n";
    let gzip = format!("{ok}content-encoding: gzip\r\n\r\n{}", "x".repeat(200));
    let (text, goes_on) = match path {
        "close" | "reset" => (String::new(), false),
        "half-head" => (ok.to_owned(), false),
        "half-body" | "reset-body" => (format!("{ok}\r\nhalf"), false),
        "garbage" => (String::from("garbage\r\n\r\n"), false),
        "gzip" => (gzip, true),
        "500" | "503" => (format!("HTTP/1.1 {path} No\r\ncontent-length: 2\r\n\r\nno"), true),
        "silent" => (String::new(), true),
        "stall" => (format!("{ok}\r\nhalf"), true),
        "large" => {
            (format!("HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n{}", "x".repeat(65536)), true)
        }
        _ => (format!("{ok}\r\n{}", "x".repeat(200)), true),
    };
    let written = socket.write_all(text.as_bytes()).is_ok();
    if path.starts_with("reset") {
        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }
    if matches!(path, "silent" | "stall") {
        // Until the client has enough of it.
        let _ = reader.read(&mut [0; 1]);
        return false;
    }
    written && goes_on
}

/// The path of the next request, its body read and forgotten.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let before = bytes.len();
        if reader.read_until(b'\n', &mut bytes).ok()? == 0 {
            return None;
        }
        if &bytes[before..] == b"\r\n" {
            break;
        }
    }
    loop {
        if dace_wire::request_length(&bytes).is_some() {
            let line = bytes.split(|byte| *byte == b' ').nth(1)?;
            return String::from_utf8(line.to_vec()).ok();
        }
        let more = reader.fill_buf().ok()?;
        if more.is_empty() {
            return None;
        }
        let byte = more[0];
        bytes.push(byte);
        reader.consume(1);
    }
}
