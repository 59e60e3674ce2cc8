use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, max_open_per_netloc = 0)]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
