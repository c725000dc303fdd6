//! What time does to the spaces: entries expire, and what was deleted long ago is forgotten.

use std::time::Duration;

use peerage_types::UnixMillis;
use tokio::time::{Instant, sleep, timeout_at};

use crate::handle::Kv;

/// Old deletions are looked for this often; their release is due once a day.
const RELEASE_INTERVAL: Duration = Duration::from_secs(60 * 60);
/// Expired entries are told in batches, no more often than this.
const EXPIRE_GAP: Duration = Duration::from_millis(100);

/// Works until it is aborted.
pub(crate) async fn run(kv: Kv) {
    loop {
        let now = UnixMillis::now();
        if let Err(error) = kv.0.replica.release(now).await {
            tracing::warn!(%error, "old deletions are not forgotten this time");
        }
        let next_release = Instant::now() + RELEASE_INTERVAL;
        while Instant::now() < next_release {
            let due = match kv.0.replica.expire(UnixMillis::now()).await {
                Ok(due) => due,
                Err(error) => {
                    tracing::warn!(%error, "entries do not expire this time");
                    None
                }
            };
            let wait = due.map(|due| due.since(UnixMillis::now()) + Duration::from_millis(1));
            let until = wait.map_or(next_release, |wait| next_release.min(Instant::now() + wait));
            // An entry that came meanwhile may be due earlier.
            if timeout_at(until, kv.0.upkeep.notified()).await.is_ok() {
                sleep(EXPIRE_GAP).await;
            }
        }
    }
}
