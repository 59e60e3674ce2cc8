use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, retry_attempts = count + 1)]
async fn function(count: u32) -> Result<(), HttpError> {
    let _ = count;
    Ok(())
}

fn main() {}
