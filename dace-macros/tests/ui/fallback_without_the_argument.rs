use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, fallback = cached)]
async fn function(id: u32) -> Result<u8, HttpError> {
    Ok(id as u8)
}

async fn cached(error: dace::Error<HttpError>) -> Result<u8, dace::Error<HttpError>> {
    Err(error)
}

fn main() {}
