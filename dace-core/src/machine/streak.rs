//! How many failures in a row are no accident.
//!
//! Five in a row say that a server is down that hardly ever fails. One that fails one time in five does
//! that by chance, at 300 requests a second every dozen seconds, and retries make up for it: a circuit that
//! opened then would turn a share of failures into all of them (Brooker, "Will circuit breakers solve my
//! problems?", 2022). So where the window knows how often the server fails, the row must be as improbable
//! as the number that is set is for a server that fails one time in a hundred.

use super::window::Counts;

/// Shares of failures, in thousandths, and how many times as long a row is as improbable, in hundredths:
/// `ln 0.01 / ln share`, rounded up.
const LONGER: [(u64, u64); 12] = [
    (10, 100),
    (20, 118),
    (50, 154),
    (100, 200),
    (150, 243),
    (200, 287),
    (300, 383),
    (400, 503),
    (500, 665),
    (600, 902),
    (800, 2_064),
    (1_000, 4_371),
];

/// The failures in a row that open a circuit, where `set` are asked for. `before`: the results in the window
/// before the row, which tell only if there are `enough`.
pub fn required(set: u32, before: Counts, enough: u32) -> u32 {
    let all = u64::from(before.successes) + u64::from(before.failures);
    if all < u64::from(enough) || enough == u32::MAX {
        return set;
    }
    let share = u64::from(before.failures) * 1000 / all.max(1);
    let longer = LONGER.iter().find(|(most, _)| share <= *most).map_or(100, |(_, longer)| *longer);
    let row = (u64::from(set) * longer).div_ceil(100);
    u32::try_from(row).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(set: u32, failures: u32, successes: u32) -> u32 {
        required(set, Counts { failures, successes }, 20)
    }

    #[test]
    fn a_row_is_as_improbable_as_the_set_one_of_a_server_that_hardly_fails() {
        for failures in 1..=900 {
            let share = f64::from(failures) / 1000.0;
            let row = of(5, failures, 1000 - failures);
            assert!(share.max(0.01).powi(row as i32) <= 0.01f64.powi(5) * 1.0001, "{share}: {row}");
        }
    }

    #[test]
    fn without_failures_and_without_enough_results_it_is_what_is_set() {
        for set in [1, 5, 1_000, u32::MAX] {
            assert_eq!(of(set, 0, 1_000_000), set);
            assert_eq!(of(set, 10, 9), set);
            assert_eq!(required(set, Counts { failures: 10, successes: 10 }, u32::MAX), set);
        }
        assert_eq!((of(5, 10, 90), of(5, 20, 80), of(5, 30, 70)), (10, 15, 20));
        assert_eq!(of(u32::MAX, 30, 70), u32::MAX, "it does not overflow");
        assert_eq!(required(5, Counts { failures: 0, successes: 0 }, 0), 5);
    }

    #[test]
    fn exactly_enough_results_tell() {
        assert_eq!((of(5, 10, 9), of(5, 10, 10)), (5, 34));
    }
}
