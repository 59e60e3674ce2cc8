use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, fallback = cached)]
async fn function() -> Result<u8, HttpError> {
    Ok(1)
}

fn cached(error: dace::Error<HttpError>) -> Result<u8, dace::Error<HttpError>> {
    Err(error)
}

fn main() {}
