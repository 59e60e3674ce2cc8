use dace::HttpError;

#[dace::fault_tolerant(reactor = dace::tokio::Tokio)]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
