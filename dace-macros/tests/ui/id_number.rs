use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, dependency_id = 7)]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
