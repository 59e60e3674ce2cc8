//! A server's process: started with a configuration, waited for, and gone with its handle.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::park_timeout;
use std::time::Duration;

/// How long a server may take to listen. squid is the slow one.
const STARTUP: Duration = Duration::from_secs(30);

/// Between two looks at whether it listens.
const GLANCE: Duration = Duration::from_millis(10);

/// What to say where a server is missing.
const INSTALL: &str = "install it with tests/sockets/servers/install.sh";

/// A folder of one server, and the port that it will listen on.
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) port: u16,
}

impl Place {
    /// A new folder, and a port of the loopback address that was free a moment ago.
    pub(crate) fn new(name: &str) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}-{}-{count}", std::process::id());
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&folder).expect("a folder for the server");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        Self { folder, port }
    }

    /// Writes a file into the folder.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.join(name);
        fs::create_dir_all(path.parent().expect("it is in the folder")).expect("its folder");
        fs::write(&path, content).expect("a file for the server");
        path
    }

    /// Starts `program`, which is to listen on the port soon.
    ///
    /// # Panics
    /// If it is not installed, ends, or does not listen.
    #[track_caller]
    pub(crate) fn start(self, program: impl AsRef<Path>, arguments: &[&str]) -> Running {
        let program = program.as_ref();
        let log = fs::File::create(self.folder.join("output")).expect("a file for its output");
        let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
        let child = Command::new(program)
            .args(arguments)
            .current_dir(&self.folder)
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("another handle"))
            .stderr(log)
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) => panic!("{}: {error}; {INSTALL}", program.display()),
        };
        let mut running = Running { child, place: self };
        running.wait(program);
        running
    }
}

/// A server that runs. It is stopped when this is dropped.
pub(crate) struct Running {
    child: Child,
    place: Place,
}

impl Running {
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.place.port))
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// The lines of one of its files.
    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.place.folder.join(name)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn wait(&mut self, program: &Path) {
        let mut glances = STARTUP.as_millis() / GLANCE.as_millis();
        while TcpStream::connect(self.address()).is_err() {
            let ended = self.child.try_wait().expect("its state can be asked");
            glances = glances.saturating_sub(1);
            if ended.is_some() || glances == 0 {
                let output = self.lines("output").join("\n");
                panic!("{} does not listen ({ended:?}): {output}", program.display());
            }
            park_timeout(GLANCE);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked, not killed, so that it ends its own children too.
        let asked = Command::new("kill").arg(self.child.id().to_string()).status();
        if !asked.is_ok_and(|status| status.success()) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.place.folder);
        }
    }
}
