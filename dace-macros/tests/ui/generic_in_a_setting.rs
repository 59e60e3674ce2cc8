use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio, queue = size_of::<T>())]
async fn function<T: Send>(_: &T) -> Result<(), HttpError> {
    Ok(())
}

fn main() {}
