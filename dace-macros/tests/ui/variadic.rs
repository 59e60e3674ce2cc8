use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
async fn function(count: u8, ...) -> Result<(), HttpError> {
    let _ = count;
    Ok(())
}

fn main() {}
