use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, timeout = "1.5s")]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
