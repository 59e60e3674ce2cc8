use dace::HttpError;

#[dace::fault_tolerant()]
async fn function(call: &mut dace::tokio::Call) -> Result<(), HttpError> {
    let _ = call;
    Ok(())
}

fn main() {}
