use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, retry_attemps = 3)]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
