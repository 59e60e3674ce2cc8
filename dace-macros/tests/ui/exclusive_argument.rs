use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
async fn function(text: &mut String) -> Result<(), HttpError> {
    text.clear();
    Ok(())
}

fn main() {}
