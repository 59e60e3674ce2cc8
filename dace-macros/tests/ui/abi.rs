use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
async extern "C" fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
