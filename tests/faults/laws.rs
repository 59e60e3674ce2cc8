//! What holds in every cell, whatever the page says: a page is blessed by hand, and hands err.

use dace::http::Sent;

use crate::Row;
use crate::cell::{Cell, KINDS, Kind, SLACK};
use crate::fault::Fault;

/// The laws that the fault's cells break.
pub(crate) fn check(fault: &Fault, row: &Row, wrong: &mut Vec<String>) {
    for (kind, cells) in KINDS.into_iter().zip(row) {
        for (adapter, cell) in ["hyper", "isahc"].into_iter().zip(cells) {
            for law in broken(fault, kind, cell) {
                let text = cell.text();
                wrong.push(format!(
                    "{adapter}, {}, {kind:?}: {law}: {text} in {:?}",
                    fault.name, cell.took
                ));
            }
        }
    }
}

fn broken(fault: &Fault, kind: Kind, cell: &Cell) -> Vec<&'static str> {
    let wait = fault.wait.long() * fault.wait.times(cell.attempts);
    let unsent = cell.sent == Some(Sent::Unsent);
    let laws = [
        ("what must not happen twice arrived twice", {
            kind.is_safe() || fault.invites || cell.arrivals <= 1
        }),
        ("what must not happen twice was tried twice", {
            kind.is_safe() || fault.invites || cell.attempts == 1 || cell.arrivals == 0
        }),
        ("more attempts than are allowed", (1..=2).contains(&cell.attempts)),
        // Of the last attempt, that is.
        ("what was not sent arrived", {
            !unsent || cell.arrivals < cell.attempts as usize || fault.invites
        }),
        (
            "what was not sent is tried again",
            !unsent || cell.attempts == 2 || cell.class == "ignored" || fault.invites,
        ),
        ("it ended before its time", cell.took >= wait),
        ("it took too long", cell.took < wait + SLACK),
        ("a value with an error's class", (cell.end == "value") == (cell.class == "success")),
    ];
    laws.into_iter().filter(|(_, holds)| !holds).map(|(law, _)| law).collect()
}
