//! What must hold: after every step, and at the end, when every call is gone and every server is well.

use std::collections::BTreeMap;
use std::time::Duration;

use dace::http::Method;
use dace::{CircuitState, Class, EndpointSnapshot, Reason, Snapshot, What};

use super::bench::{Bench, Live, Record, Side};
use super::calls::{Ended, Failed, Kind};
use super::chain::Known;
use super::hooks::Hook;
use super::policy::{LONGEST, Picker, WINDOW};
use super::{Dependency, HOSTS, Reached, chain, ms};

impl Bench {
    /// After every step: no server has more open than permits are held for, no count is above its bound,
    /// and one that is, because another policy was loaded, does not grow.
    pub(super) fn check(&mut self) {
        for index in 0..self.sides.len() {
            let begun = |live: &&Live| live.side == index && live.is_begun();
            let begun = self.live.iter().filter(begun).count();
            self.sides[index].check(begun);
        }
        for (server, host) in self.servers.iter().zip(HOSTS) {
            let open = |side: &Side| {
                // Netlocs for which there is no room share an entry.
                let there = |one: &&EndpointSnapshot| {
                    one.netloc.as_str() == host || one.netloc.as_str() == "other" && !one.listed
                };
                side.before.endpoints.iter().filter(there).map(|one| one.open).sum::<u32>()
            };
            let permits: u32 = self.sides.iter().map(open).sum();
            assert!(server.open() <= permits, "{} at {host}, {permits} permits", server.open());
        }
        if let Some(shared) = &self.shared {
            let attempts: usize = self.sides.iter().map(|side| side.before.attempts).sum();
            assert!(shared.open() as usize <= attempts, "a grant is lost");
        }
    }

    /// Everybody who is left runs to the end.
    pub(super) fn drain(&mut self) {
        self.kept.clear();
        let bound = ms(2500) + self.back;
        let mut waited = Duration::ZERO;
        self.run();
        while !self.live.is_empty() {
            assert!(waited <= bound, "a call never ends");
            self.sim.advance(ms(10));
            waited += ms(10);
            self.kept.clear();
            self.run();
        }
        self.kept.clear();
        self.check();
    }

    /// Everything that was lent is back, and nothing is kept for anybody.
    pub(super) fn check_idle(&mut self) {
        for side in &mut self.sides {
            let snapshot = side.snapshot();
            let totals = (snapshot.calls, snapshot.attempts, snapshot.queued);
            assert_eq!(totals, (0, 0, 0), "{snapshot}");
            for endpoint in &snapshot.endpoints {
                let lent = (endpoint.open, endpoint.connections, endpoint.probes, endpoint.queued);
                assert_eq!(lent, (0, 0, 0, 0), "{snapshot}");
            }
            assert!(side.means.group.is_empty(), "an answer is shared with nobody");
        }
        if let Some(shared) = &self.shared {
            assert_eq!(shared.open(), 0, "a grant is lost");
        }
        self.poll_closing();
        assert!(self.closing.is_empty(), "what is idle is closed");
    }

    /// Every server is well: calls succeed again within the time that a circuit stays open, and all
    /// circuits close by themselves.
    pub(super) fn recover(&mut self) {
        self.hooks.disarm();
        for server in &self.servers {
            server.answers(.., 200).latency(ms(1)).jitter(Duration::ZERO).capacity(0);
        }
        self.use_up_dead_connections();
        for index in 0..self.sides.len() {
            if self.sides[index].closed {
                let ended = self.try_once(index, 0);
                let closed = matches!(ended[..], [Err(Failed::Closed)]);
                assert!(closed, "it is closed: {ended:?}");
                continue;
            }
            self.sides[index].release();
            let begun = self.sim.elapsed();
            let (mut first, mut turn) = (None, 0);
            while first.is_none() || !self.sides[index].is_recovered() {
                let waited = self.sim.elapsed() - begun;
                let snapshot = self.sides[index].snapshot();
                let bound = LONGEST + ms(50) + self.back;
                assert!(first.is_some() || waited <= bound, "nobody is let in: {snapshot}");
                assert!(waited <= 2 * bound, "a circuit does not close: {snapshot}");
                let ended = self.try_once(index, turn);
                let good = ended.iter().any(Result::is_ok);
                let throttled = self.sides[index].snapshot().totals.throttled;
                if !good && throttled > snapshot.totals.throttled {
                    // It refuses by dice, and remembers what it refused: then a caller gets in only by luck,
                    // unless it is silent for as long as that.
                    self.sim.advance(ms(WINDOW));
                }
                first = first.or_else(|| good.then(|| self.sim.elapsed()));
                turn += 1;
            }
        }
        self.drain();
    }

    fn try_once(&mut self, index: usize, turn: usize) -> Vec<Ended> {
        let start = self.sides[index].plain(index, turn);
        self.start(&start);
        let mut ended = self.run_all();
        for _ in 0..10 {
            self.sim.advance(ms(2));
            ended.extend(self.run_all());
        }
        ended
    }

    /// The next request of somebody else finds them.
    fn use_up_dead_connections(&self) {
        let stranger = Dependency::builder("stranger").circuit_reset_timeout(Duration::ZERO);
        let stranger = stranger.build_with(self.sim.runtime(), self.sim.backend()).unwrap();
        for (server, host) in self.servers.iter().zip(HOSTS) {
            let before = server.requests();
            while server.requests() == before {
                let get = stranger.call(async |call| {
                    call.http().get(&format!("http://{host}/0")).send().await.map(drop)
                });
                let _ended = self.sim.run(get);
            }
        }
    }

    /// All places can be had at once: none is kept for somebody who left. And as many as may wait for one
    /// get it.
    pub(super) fn fill(&mut self) {
        for index in 0..self.sides.len() {
            let Side { plan, listed, dependency, closed, .. } = &self.sides[index];
            let count = match self.picker {
                _ if *closed || self.shared.is_some() => continue,
                Picker::Own | Picker::Rendezvous => continue,
                Picker::Function => plan.limit as usize,
                Picker::PeakEwma | Picker::RoundRobin | Picker::LeastOpen => {
                    plan.limit as usize * listed.len()
                }
            };
            let count = count + plan.queue;
            let plan = plan.without_limits();
            dependency.reload(plan.policy()).unwrap();
            self.sides[index].netlocs = plan.netlocs;
            for _ in 0..count {
                let start = self.sides[index].plain(index, 0);
                self.start(&start);
            }
            let mut ended = Vec::new();
            while !self.live.is_empty() {
                ended.extend(self.run_all());
                self.sim.advance(ms(1));
            }
            let good = ended.iter().filter(|ended| ended.is_ok()).count();
            assert_eq!(good, count, "{ended:?} {}", self.sides[index].snapshot());
        }
    }

    /// Nothing that must not happen twice did, and nothing was sent after its deadline.
    pub(super) fn check_arrivals(&self) {
        let mut posts = BTreeMap::new();
        for (server, host) in self.servers.iter().zip(HOSTS) {
            for arrival in server.arrivals() {
                let number = arrival.path[1..].split('?').next().map(str::parse);
                let Some(Ok(number)) = number else { panic!("{}", arrival.path) };
                let Some(Record { start, deadline }) = self.records.get(&number) else { continue };
                let in_time = deadline.is_none_or(|deadline| arrival.at < deadline);
                assert!(in_time, "{} arrived after its deadline", arrival.path);
                let asked = start.class == Some(Class::RetryRequested);
                if arrival.method == Method::POST && start.kind != Kind::MarkedPost && !asked {
                    *posts.entry((host, arrival.path)).or_insert(0u32) += 1;
                }
            }
        }
        for ((host, path), count) in posts {
            assert_eq!(count, 1, "POST {path} arrived {count} times at {host}");
        }
    }

    pub(super) fn check_events(&self) {
        for side in &self.sides {
            side.dependency.flush();
            let snapshot = side.snapshot();
            let events = side.log.events.lock().unwrap();
            let listed = if self.picker == Picker::Function { 0 } else { HOSTS.len() };
            let known = Known { straight: self.back.is_zero(), listed, banked: side.banked };
            let checked = chain::check(&events, &snapshot, &known);
            checked.unwrap_or_else(|wrong| panic!("{}: {wrong}", side.dependency.id()));
        }
    }

    /// Adds what this case came to.
    pub(super) fn tell(&self, reached: &mut Reached) {
        let mut add = |what, count: u64| *reached.entry(what).or_default() += count;
        for hook in Hook::ALL {
            add(hook.name(), self.hooks.fired(hook).into());
        }
        for side in &self.sides {
            let totals = side.snapshot().totals;
            add("retries", totals.retries);
            add("hedges", totals.hedges);
            add("fallbacks", totals.fallbacks);
            add("cached", totals.cached);
            add("stale", totals.stale);
            add("shared", totals.shared);
            add("dropped", totals.dropped);
            add("timed out", totals.timed_out);
            add("rate limited", totals.rate_limited);
            add("throttled", totals.throttled);
            add("shared limited", totals.shared_limited);
            add("circuit open", totals.circuit_open);
            add("half-opened", totals.half_opened);
            add("after close", totals.after_close);
            let events = side.log.events.lock().unwrap();
            let count = |is: fn(&What) -> bool| {
                events.iter().filter(|event| is(&event.what)).count() as u64
            };
            add("panic mode", count(|what| matches!(what, What::PanicMode { on: true })));
            add("queued", count(|what| matches!(what, What::Queued { .. })));
            let shed = |what: &What| matches!(what, What::Refused { refusal } if refusal.reason() == Reason::Shed);
            add("shed", count(shed));
        }
    }
}

impl Side {
    fn check(&mut self, begun: usize) {
        let snapshot = self.snapshot();
        let (plan, before) = (&self.plan, &self.before);
        let known: BTreeMap<_, _> = before.endpoints.iter().map(|one| (&one.netloc, one)).collect();
        for one in &snapshot.endpoints {
            let was = known.get(&one.netloc);
            let most = |limit: u32, of: fn(&EndpointSnapshot) -> u32| {
                was.map_or(0, |was| of(was)).max(limit)
            };
            assert!(one.open <= most(plan.limit, |one| one.open), "{snapshot}");
            assert!(one.connections <= most(plan.pool, |one| one.connections), "{snapshot}");
            let probes = most(plan.probes, |one| one.probes as u32);
            assert!(one.probes as u32 <= probes, "{snapshot}");
            let (_, burst) = plan.rate.unwrap_or_default();
            assert!(one.rate_tokens.is_none_or(|tokens| tokens <= burst), "{snapshot}");
            assert!(one.adaptive_limit.is_none_or(|limit| (1..=8).contains(&limit)), "{snapshot}");
        }
        let waiting = |snapshot: &Snapshot| snapshot.queued.saturating_sub(2 * snapshot.attempts);
        assert!(waiting(&snapshot) <= plan.queue.max(before.queued), "{snapshot}");
        assert!(snapshot.budget_thousandths <= u64::from(plan.banked) * 1000, "{snapshot}");
        assert!(snapshot.calls as usize <= begun, "{snapshot}");
        assert_eq!(snapshot.events_dropped, 0, "{snapshot}");
        // Listed ones, the dependency's own entry, and the one that others share.
        let most = self.netlocs + HOSTS.len() + 2;
        assert!(snapshot.endpoints.len() <= most, "{snapshot}");
        assert!(self.means.cache.len() <= 3 && self.means.group.len() <= begun);
        self.before = snapshot;
    }

    /// What was decided by hand is left to the circuits again.
    fn release(&self) {
        for endpoint in self.snapshot().endpoints {
            if endpoint.circuit.is_manual() {
                if let Some(circuit) = self.dependency.circuit(endpoint.netloc.as_str()) {
                    assert!(circuit.automatic());
                }
            }
        }
    }

    fn is_recovered(&self) -> bool {
        let used = |one: &&EndpointSnapshot| {
            let name = one.netloc.as_str();
            let is_host = HOSTS.contains(&name) && (one.listed || self.means.names);
            is_host || name == self.dependency.id()
        };
        let well = |one: &EndpointSnapshot| {
            one.circuit == CircuitState::Closed && one.paused_for.is_none()
        };
        self.snapshot().endpoints.iter().filter(used).all(well)
    }
}
