use std::sync::Arc;

use dace::HttpError;

#[derive(Debug)]
struct Own;

impl Own {
    #[dace::fault_tolerant(runtime = dace::tokio::Tokio)]
    async fn function(self: Arc<Self>) -> Result<String, HttpError> {
        Ok(format!("{self:?}"))
    }
}

fn main() {}
