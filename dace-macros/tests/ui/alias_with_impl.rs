use dace::HttpError;

#[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
async fn function() -> Alias<impl Iterator<Item = u8>> {
    Ok(0..1)
}

type Alias<T> = Result<T, HttpError>;

fn main() {}
