#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
async fn function() -> Result<u8, impl dace::Classify> {
    Ok::<u8, dace::HttpError>(1)
}

fn main() {}
