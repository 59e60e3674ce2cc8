use dace::HttpError;

#[dace::fault_tolerant(dependency = "users")]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
