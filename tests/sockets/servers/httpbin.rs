//! httpbin under gunicorn: methods, credentials, redirects, gzip, slow bodies, status codes.

use std::path::Path;

use dace::http::{HttpErrorKind, Method};
use dace::{Adapter, HttpError};

use super::process::{Place, Running};
use crate::support::{assert_all_back, dependency, get, ms};

on_every_adapter! {
    what_httpbin_echoes_is_what_was_sent
    credentials_open_and_redirects_lead
    bodies_come_compressed_slow_and_endless
}

fn httpbin() -> Running {
    let place = Place::new("httpbin");
    let bind = format!("127.0.0.1:{}", place.port);
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/servers/venv/bin/gunicorn");
    let arguments = ["-b", &bind, "-k", "gthread", "--threads", "8", "httpbin:app"];
    place.start(program, &arguments)
}

async fn what_httpbin_echoes_is_what_was_sent<A: Adapter>() {
    let httpbin = httpbin();
    let one = dependency::<A>(|builder| builder.targets([httpbin.url("")]).retry_attempts(0));
    for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let echo: serde_json::Value = one
            .call(|call| {
                let method = method.clone();
                async move {
                    let request =
                        call.http().request(method, "/anything?a=1").query(&[("b", "x y")]);
                    let request = request.header("x-own", "mine").json(&[1, 2]);
                    request.send().await?.error_for_status()?.json().await
                }
            })
            .await
            .unwrap();
        assert_eq!(echo["method"], method.as_str());
        assert_eq!(echo["args"], serde_json::json!({"a": "1", "b": "x y"}));
        assert_eq!(echo["json"], serde_json::json!([1, 2]));
        assert_eq!(echo["headers"]["X-Own"], "mine");
        assert!(echo["headers"]["User-Agent"].as_str().unwrap().starts_with("dace/"));
    }
    let form: serde_json::Value = one
        .call(|call| async move {
            call.http().post("/post").form(&[("k", "v & w")]).send().await?.json().await
        })
        .await
        .unwrap();
    assert_eq!(form["form"]["k"], "v & w");
    for status in [200, 204, 304, 404, 418, 500, 503] {
        let answered = one
            .call(|call| async move {
                let path = format!("/status/{status}");
                Ok::<_, HttpError>(call.http().get(&path).send().await?.status())
            })
            .await;
        assert_eq!(answered.unwrap(), status);
    }
    assert_all_back(&one);
}

async fn credentials_open_and_redirects_lead<A: Adapter>() {
    let httpbin = httpbin();
    let one = dependency::<A>(|builder| builder.targets([httpbin.url("")]).retry_attempts(0));
    one.call(|call| async move {
        let basic = call.http().get("/basic-auth/user/s3cret").basic_auth("user", Some("s3cret"));
        assert_eq!(basic.send().await?.status(), 200);
        let wrong = call.http().get("/basic-auth/user/s3cret").basic_auth("user", None);
        assert_eq!(wrong.send().await?.status(), 401);
        assert_eq!(call.http().get("/bearer").bearer_auth("t").send().await?.status(), 200);
        let chain = call.http().get("/relative-redirect/3").send().await?;
        assert_eq!((chain.status(), chain.history().len()), (200, 3));
        let posted =
            call.http().post("/redirect-to?url=/get&status_code=303").body("x").send().await?;
        assert_eq!((posted.status(), posted.url().path()), (200, "/get"));
        let kept =
            call.http().post("/redirect-to?url=/post&status_code=307").body("x").send().await?;
        let echo: serde_json::Value = kept.json().await?;
        assert_eq!(echo["data"], "x");
        Ok::<_, HttpError>(())
    })
    .await
    .unwrap();
    let endless = one.call(|call| get(call, "/relative-redirect/11")).await.unwrap_err();
    let kind = endless.into_source().unwrap().kind().clone();
    assert!(matches!(kind, HttpErrorKind::Redirect(_)), "{kind:?}");
    assert_all_back(&one);
}

async fn bodies_come_compressed_slow_and_endless<A: Adapter>() {
    let httpbin = httpbin();
    let one = dependency::<A>(|builder| {
        builder.targets([httpbin.url("")]).retry_attempts(0).body_limit(50_000)
    });
    let gzipped = one.call(|call| get(call, "/gzip")).await.unwrap();
    assert!(gzipped.contains("gzipped"), "{gzipped}");
    let drip = one.call(|call| get(call, "/drip?duration=0.3&numbytes=6&delay=0")).await.unwrap();
    assert_eq!(drip, "******");
    let chunked = one.call(|call| get(call, "/stream/5")).await.unwrap();
    assert_eq!(chunked.lines().count(), 5);
    let large = one.call(|call| get(call, "/stream-bytes/60000?chunk_size=900")).await.unwrap_err();
    assert_eq!(large.into_source().unwrap().kind(), &HttpErrorKind::TooLarge(50_000));
    let slow =
        one.call(|call| async move {
            call.http().get("/delay/9").timeout(ms(300)).send().await.map(drop)
        })
        .await
        .unwrap_err();
    assert_eq!(slow.into_source().unwrap().kind(), &HttpErrorKind::Timeout(ms(300)));
    assert_all_back(&one);
}
