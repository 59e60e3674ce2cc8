use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, timeout = "1s", no_timeout)]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
