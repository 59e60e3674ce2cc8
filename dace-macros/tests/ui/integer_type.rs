use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, retry_attempts = std::string::String::new())]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
