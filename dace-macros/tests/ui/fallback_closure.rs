use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, fallback = |error| async { Err(error) })]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
