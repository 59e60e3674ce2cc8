use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, timeout = "1s", timeout = "2s")]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
