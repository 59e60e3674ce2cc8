use dace::HttpError;

#[dace::fault_tolerant(runtime = "tokio")]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
