use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, classify = "transient")]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
