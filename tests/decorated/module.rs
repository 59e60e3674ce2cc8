//! The module with tests that `docs/guide.md` shows, as it stands there.

#[dace::fault_tolerant(dependency_id = "stock", runtime = dace::tokio::Tokio, retry_attempts = 0)]
async fn stock(wanted: u32) -> Result<u32, std::io::Error> {
    if wanted > 10 { Err(std::io::ErrorKind::Other.into()) } else { Ok(wanted) }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::stock;

    /// The state of a function is the process's: those who look at it, one at a time.
    static ALONE: Mutex<()> = Mutex::new(());

    #[tokio::test]
    #[expect(
        clippy::await_holding_lock,
        reason = "every test has a thread and a runtime of its own"
    )]
    async fn it_is_refused_after_five_failures() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        dace::reset();
        for _ in 0..5 {
            stock(11).await.unwrap_err();
        }
        let refused = stock(1).await;
        assert!(matches!(refused, Err(dace::Error::CircuitOpen { .. })));
    }

    #[tokio::test]
    #[expect(
        clippy::await_holding_lock,
        reason = "every test has a thread and a runtime of its own"
    )]
    async fn there_is_what_is_wanted() {
        let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        dace::reset();
        assert_eq!(stock(1).await.unwrap(), 1);
    }
}
