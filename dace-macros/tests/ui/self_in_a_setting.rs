use dace::HttpError;

struct Own(dace::tokio::Dependency, u32);

impl Own {
    #[dace::fault_tolerant(runtime = dace::tokio::Tokio, queue = self.1 as usize)]
    async fn function(&self) -> Result<(), HttpError> {
        Ok(())
    }
}

fn main() {}
