//! collectd's statsd plugin, over the socket of its unixsock plugin.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use dace::StatsdExt as _;

use crate::process::{Process, free_port};
use crate::script::{COUNTERS, TIMERS, on_smol, on_tokio};

/// Seconds between two looks of collectd at what its plugin counted: the run has to fit in between.
const INTERVAL: u32 = 5;

struct Collectd {
    process: Process,
    port: u16,
    socket: PathBuf,
}

impl Collectd {
    fn start() -> Self {
        let port = free_port();
        let configure = |folder: &Path| {
            let folder = folder.display();
            let config = format!(
                "Hostname \"host\"\nFQDNLookup false\nBaseDir \"{folder}\"\n\
                 PIDFile \"{folder}/pid\"\nInterval {INTERVAL}\n\
                 LoadPlugin logfile\n<Plugin logfile>\nLogLevel info\nFile stdout\n</Plugin>\n\
                 LoadPlugin csv\n<Plugin csv>\nDataDir \"stdout\"\n</Plugin>\nLoadPlugin statsd\nLoadPlugin unixsock\n\
                 <Plugin statsd>\nHost \"127.0.0.1\"\nPort \"{port}\"\n\
                 CounterSum true\nTimerCount true\n</Plugin>\n\
                 <Plugin unixsock>\nSocketFile \"{folder}/sock\"\nSocketGroup \"root\"\n</Plugin>\n"
            );
            let path = format!("{folder}/collectd.conf");
            std::fs::write(&path, config).unwrap();
            ["-oL", "collectd", "-f", "-C", &path].map(String::from).to_vec()
        };
        // Line by line, although its output is a pipe.
        let process = Process::start("stdbuf", configure, "statsd plugin: Listening on");
        let socket = process.folder.join("sock");
        Self { process, port, socket }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn ask(&self, command: &str) -> String {
        let mut socket = UnixStream::connect(&self.socket).unwrap();
        writeln!(socket, "{command}").unwrap();
        socket.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The value that the plugin had for a name at its last look.
    #[track_caller]
    fn value(&self, name: &str) -> f64 {
        let answer = self.ask(&format!("GETVAL \"host/statsd/{name}\""));
        let value = answer.split_once("value=").and_then(|(_, value)| value.trim().parse().ok());
        value.unwrap_or_else(|| panic!("{name}: {answer}\n{}", self.ask("LISTVAL")))
    }
}

#[test]
fn collectds_statsd_plugin_has_exact_counts_of_a_run_on_both_adapters() {
    let collectd = Collectd::start();
    // Its values are of one interval each: the run begins with one.
    let mark = UdpSocket::bind("127.0.0.1:0").unwrap();
    mark.send_to(b"begin:1|c", collectd.address()).unwrap();
    collectd.process.await_line("begin");
    on_tokio(|builder| builder.statsd(collectd.address()));
    on_smol(|builder| builder.statsd(collectd.address()));
    // Counters, gauges, timers, each by name: so this is what the plugin tells last.
    mark.send_to(b"zzz:1|ms", collectd.address()).unwrap();
    collectd.process.await_line("zzz");
    for id in ["tokio", "smol"] {
        for (name, count) in COUNTERS {
            let value = collectd.value(&format!("count-dace.{id}.{name}"));
            assert_eq!(value, *count as f64, "{id}: {name}");
        }
        // It takes no times below a millisecond, so what it has of the others is no exact number.
        for (name, count) in TIMERS {
            let value = collectd.value(&format!("gauge-dace.{id}.{name}-count"));
            assert!(value <= *count as f64, "{id}: {name}");
        }
        assert_eq!(collectd.value(&format!("gauge-dace.{id}.open")), 0.0);
    }
}
