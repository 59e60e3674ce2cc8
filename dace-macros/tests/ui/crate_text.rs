use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, crate = "dace")]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
