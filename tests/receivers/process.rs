//! Programs that a test starts, and that end with it.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

/// How to get what is missing.
pub(crate) const INSTALL: &str =
    "is not there: run tests/receivers/install.sh, which installs statsd, collectd and promtool";

/// How long a program may be silent before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running program, and a folder of its own. Both are gone when it is dropped.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    pub(crate) folder: PathBuf,
}

impl Process {
    /// Starts a program that writes `ready` to its output once it serves. `configure` fills its folder
    /// and gives its arguments.
    #[track_caller]
    pub(crate) fn start<I: AsRef<OsStr>>(
        program: &str,
        configure: impl FnOnce(&std::path::Path) -> Vec<I>,
        ready: &str,
    ) -> Self {
        let folder = folder();
        let arguments = configure(&folder);
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| panic!("{program} {INSTALL} ({error})"));
        let output = BufReader::new(child.stdout.take().expect("it is piped"));
        let (said, lines) = channel();
        // Ends with the program.
        thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                // Once nobody listens it reads on, so that the program can write on.
                let _ = said.send(line);
            }
        });
        let process = Self { child, lines, folder };
        process.await_line(ready);
        process
    }

    /// Waits until the program says something with this text.
    #[track_caller]
    pub(crate) fn await_line(&self, text: &str) {
        let mut said = String::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(text) => return,
                Ok(line) => said = format!("{said}{line}\n"),
                Err(error) => panic!(
                    "it never said `{text}` ({error}); perhaps it {INSTALL}. It said:\n{said}"
                ),
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// An empty folder.
fn folder() -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("dace-{}-{count}", std::process::id());
    // Not below the target folder: paths of sockets are short.
    let folder = std::env::temp_dir().join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A port that nobody listens on over UDP, nor over TCP.
pub(crate) fn free_port() -> u16 {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = tcp.local_addr().expect("an address").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
