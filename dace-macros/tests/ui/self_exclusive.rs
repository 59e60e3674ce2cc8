use dace::HttpError;

struct Own(dace::tokio::Dependency, u32);

impl Own {
    #[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
    async fn function(&mut self) -> Result<(), HttpError> {
        Ok(())
    }
}

fn main() {}
