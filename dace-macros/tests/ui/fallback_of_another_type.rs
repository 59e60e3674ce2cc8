use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, fallback = cached)]
async fn function() -> Result<u8, HttpError> {
    Ok(1)
}

async fn cached(_: dace::Error<HttpError>) -> Result<String, dace::Error<HttpError>> {
    Ok(String::new())
}

fn main() {}
