use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
async unsafe fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
