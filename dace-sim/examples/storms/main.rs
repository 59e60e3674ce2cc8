//! storms
mod backend;
mod fleet;
mod funding;
mod hour;
mod servers;
mod storm;

use fleet::Size;
use funding::Kind;
use storm::Storm;

fn main() {
    let clients: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let size = Size::fleet(clients);
    if std::env::args().nth(2).is_some() {
        let (record, verdicts) = hour::run(7, size);
        println!("{:x} {} {}", record.hash, record.most_connections, record.connections_left);
        for (storm, verdict) in verdicts {
            println!("{:24} {verdict:?}", storm.name());
        }
        for second in &record.seconds[..3600] {
            eprintln!("{second:?}");
        }
        return;
    }
    for storm in Storm::ALL {
        for kind in Kind::of_fleets() {
            let (record, verdict) = storm.run(7, size, &kind);
            println!(
                "{:24} {:24} {verdict:?} {} {}",
                storm.name(),
                kind.name,
                record.most_connections,
                record.connections_left
            );
        }
    }
}
