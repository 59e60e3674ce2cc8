use dace::HttpError;

trait Named {
    #[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
    async fn function() -> Result<(), HttpError>;
}

fn main() {}
