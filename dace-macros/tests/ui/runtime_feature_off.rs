use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::smol::Smol)]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
