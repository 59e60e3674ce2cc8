use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, default_header = "x-own: mine")]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
