//! What this process is made of, as Linux tells it; and servers in a process of their own, so that
//! nothing of theirs is counted.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

/// Resident memory, in bytes.
pub(crate) fn memory() -> usize {
    let text = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

pub(crate) fn descriptors() -> usize {
    // The one that lists them is among them.
    fs::read_dir("/proc/self/fd").expect("Linux").count() - 1
}

pub(crate) fn threads() -> usize {
    fs::read_dir("/proc/self/task").expect("Linux").count()
}

/// Servers, for as long as this lives.
pub(crate) struct Servers {
    child: Child,
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Servers {
    /// This program again, told to serve.
    pub(crate) fn start() -> Self {
        let program = std::env::current_exe().expect("this program has a path");
        let mut child = Command::new(program)
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program can be started again");
        let mut line = String::new();
        let said = child.stdout.as_mut().expect("a pipe");
        BufReader::new(said).read_line(&mut line).expect("the servers say where they are");
        let addresses = line.split_whitespace().map(|one| one.parse().expect("an address"));
        let addresses = addresses.collect();
        Self { child, addresses }
    }
}

impl Drop for Servers {
    /// The end of its input is what it waits for.
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
