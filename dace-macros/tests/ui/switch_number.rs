use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, idempotent = 0)]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
