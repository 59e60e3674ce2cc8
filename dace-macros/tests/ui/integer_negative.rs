use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, retry_attempts = -1)]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
