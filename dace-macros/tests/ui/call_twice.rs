use dace::HttpError;

#[dace::fault_tolerant()]
async fn function(one: &dace::tokio::Call, two: &dace::tokio::Call) -> Result<(), HttpError> {
    let _ = (one, two);
    Ok(())
}

fn main() {}
