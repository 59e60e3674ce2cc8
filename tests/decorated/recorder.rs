//! A stand-in for dace that writes down what the expansion says: `crate = crate::recorder`.
//!
//! A function that is decorated with it ends with what its attribute said, so a parameter that the macro
//! ignores is missed.

pub(crate) use dace::Error;

pub(crate) mod decorated {
    use std::fmt::{Debug, Write as _};
    use std::marker::PhantomData;

    use dace::decorated::Handle;
    pub(crate) use dace::decorated::{CallOn, Duration, None, Some, returns};
    use dace::{ConfigError, Dependency, Error};

    pub(crate) struct Site<C> {
        id: Option<&'static str>,
        settings: &'static str,
        call: PhantomData<fn() -> C>,
    }

    pub(crate) type SiteOf<C> = Site<C>;

    pub(crate) struct Builder<C> {
        pub(crate) said: String,
        call: PhantomData<fn() -> C>,
    }

    impl<C: Handle> Site<C> {
        pub(crate) const fn new(id: Option<&'static str>, settings: &'static str) -> Self {
            Self { id, settings, call: PhantomData }
        }

        pub(crate) fn dependency<E, F>(
            &self,
            set: F,
        ) -> Result<Dependency<C::Runtime, C::Backend>, Error<E>>
        where
            F: FnOnce(Builder<C>) -> Builder<C>,
        {
            let Builder { said, .. } = set(Builder { said: String::new(), call: PhantomData });
            let id = self.id.unwrap_or("its own path");
            let settings = self.settings.replace('\n', ", ");
            Err(Error::Config(ConfigError::new("said", format!("{id}; {said}; {settings}"))))
        }
    }

    macro_rules! setters {
        ($($name:ident($($value:ident),*))*) => {
            impl<C> Builder<C> {
                $(
                    pub(crate) fn $name(mut self, $($value: impl Debug),*) -> Self {
                        let values: &[String] = &[$(format!("{:?}", $value)),*];
                        write!(self.said, "{}({})", stringify!($name), values.join(", ")).unwrap();
                        self
                    }
                )*
            }
        };
    }

    setters! {
        policy(a) timeout(a) no_timeout() attempt_timeout(a) retry_attempts(a) retry_on_timeout(a) idempotent(a)
        max_open_per_netloc(a) queue(a) expected_in(a) hang_after(a) connect_timeout(a)
        http_pool_size(a) stall_timeout(a) body_limit(a) circuit_reset_timeout(a) breaker(a) backoff(a)
        budget(a) hint_max(a) max_netlocs(a) targets(a) load_balancer(a) observer(a) try_observer(a)
        https_only(a) max_redirects(a) user_agent(a) default_header(a, b)
        default_sensitive_header(a, b) use_proxy(a) proxy(a) root_certificate(a) identity(a)
        verification(a) protocol(a) http_idle_timeout(a) http_max_age(a) tls(a) resolve(a, b)
        head_limit(a) hints(a) deadline_header(a) attempt_header(a) rate_limit(a) adaptive_limit(a) throttle(a) shared_limit(a) hedge(a)
    }
}

pub(crate) struct StatsdExt;

impl StatsdExt {
    pub(crate) fn statsd<C>(
        mut builder: decorated::Builder<C>,
        to: impl std::fmt::Debug,
    ) -> decorated::Builder<C> {
        builder.said.push_str(&format!("statsd({to:?})"));
        builder
    }
}
