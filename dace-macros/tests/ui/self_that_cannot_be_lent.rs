use dace::HttpError;

struct Own(dace::tokio::Dependency, u32);

impl Own {
    #[dace::fault_tolerant(dependency = self.0)]
    async fn function(self) -> Result<(), HttpError> {
        drop(self);
        Ok(())
    }
}

fn main() {}
