use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, colour = "red")]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
