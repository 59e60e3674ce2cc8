//! Exchanges that wait for a connection place.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use dace_core::http::{Fault, Head, HttpBackend, Request, Response, Version};
use dace_core::{Call, Dependency, HttpError};
use futures_core::Stream;
use loom::future::block_on;
use loom::thread;

use crate::threads::{Inside, Threads, model, one_place, poll_once};

/// Answers 200 at once, and counts who is connected.
struct Wire(Arc<Inside>);

impl HttpBackend for Wire {
    type Tls = Infallible;
    type Head = Ok200;
    type Body = Empty;
    type Error = Infallible;

    async fn send(&self, _: Request) -> Result<Response<Ok200, Empty>, Infallible> {
        let _connected = self.0.enter();
        Ok(Response { head: Ok200, body: Empty })
    }

    fn fault(error: &Infallible) -> Fault {
        match *error {}
    }
}

struct Ok200;

impl Head for Ok200 {
    fn status(&self) -> u16 {
        200
    }

    fn version(&self) -> Version {
        Version::Http11
    }

    fn get(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        std::iter::empty()
    }
}

struct Empty;

impl Stream for Empty {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(None)
    }
}

fn get(
    dependency: &Dependency<Threads, Wire>,
) -> impl Future<Output = Result<(), dace_core::Error<HttpError>>> + use<> {
    dependency.call(|call: Call<Threads, Wire>| async move {
        call.http().get("/").send().await?.bytes().await.map(drop)
    })
}

/// Two places, one connection: who waits for it is woken when it is free, though another left.
#[test]
fn an_exchange_that_waits_for_a_connection_is_woken() {
    model(2, || {
        let dependency = one_place()
            .max_open_per_netloc(3)
            .http_pool_size(1)
            .build_with(Threads, Wire(Inside::new(1)))
            .expect("the settings are right");
        let (leaver, stayer) = (get(&dependency), get(&dependency));
        let leaver = thread::spawn(move || {
            let mut call = Box::pin(leaver);
            // It may also be answered, and then it is over.
            let _ = poll_once(call.as_mut());
        });
        let stayer = thread::spawn(move || block_on(stayer).expect("it is answered"));
        block_on(get(&dependency)).expect("it is answered");
        leaver.join().expect("it ends");
        stayer.join().expect("it ends");
        let snapshot = dependency.snapshot();
        assert_eq!((snapshot.calls, snapshot.attempts, snapshot.queued), (0, 0, 0), "{snapshot}");
        for endpoint in &snapshot.endpoints {
            assert_eq!((endpoint.open, endpoint.connections), (0, 0), "{snapshot}");
        }
    });
}
