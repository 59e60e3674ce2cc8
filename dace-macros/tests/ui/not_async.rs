use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
