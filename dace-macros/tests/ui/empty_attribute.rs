use dace::HttpError;

#[dace::fault_tolerant()]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
