use dace::HttpError;

#[dace::fault_tolerant(dependency = dependency(), timeout = "1s", retry_attempts = 1)]
async fn function() -> Result<(), HttpError> {
    Ok(())
}

fn dependency() -> dace::tokio::Dependency {
    panic!("it is not called")
}

fn main() {}
