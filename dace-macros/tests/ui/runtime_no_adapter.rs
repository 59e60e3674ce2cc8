use dace::HttpError;

#[dace::fault_tolerant(runtime = std::string::String)]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
