use dace::HttpError;

struct Own(dace::tokio::Dependency, u32);

impl Own {
    #[dace::fault_tolerant(runtime = dace::tokio::Tokio, load_balancer = Self::pick)]
    async fn function(&self) -> Result<(), HttpError> {
        Ok(())
    }

    fn pick() -> (&'static str, &'static str) {
        ("http", "a")
    }
}

fn main() {}
