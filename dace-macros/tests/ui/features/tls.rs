use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, tls = tls())]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
