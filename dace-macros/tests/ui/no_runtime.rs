use dace::HttpError;

#[dace::fault_tolerant(timeout = "1s")]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
