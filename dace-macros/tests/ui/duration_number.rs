use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, timeout = 10)]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
