use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
const fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
