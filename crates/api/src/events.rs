//! Feeds as the application reads them.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// One step of a feed: an item, or the number of items that were lost because the reader was slow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Feeding<T> {
    /// Items that were not delivered at this place.
    #[serde(with = "lagged")]
    #[schemars(with = "serde_json::Value")]
    Lagged(u64),
    /// The next item.
    Item(T),
}

mod lagged {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Lagged {
        lagged: u64,
    }

    pub(super) fn serialize<S: Serializer>(lagged: &u64, to: S) -> Result<S::Ok, S::Error> {
        Lagged { lagged: *lagged }.serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
        Lagged::deserialize(from).map(|l| l.lagged)
    }
}

/// The reading end of a feed. Dropping it ends the subscription.
///
/// Also a [`futures::Stream`] of [`Feeding`].
#[derive(Debug)]
#[must_use = "dropping a feed ends the subscription"]
pub struct Stream<T> {
    items: mpsc::Receiver<Feeding<T>>,
}

impl<T> Stream<T> {
    pub(crate) fn new(items: mpsc::Receiver<Feeding<T>>) -> Self {
        Self { items }
    }

    /// The next step; `None` once the feed has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Option<Feeding<T>> {
        self.items.recv().await
    }

    /// The next item, passing over notices of lost ones; `None` once the feed has ended.
    ///
    /// # Cancel safety
    /// Nothing is lost when the future is dropped.
    pub async fn item(&mut self) -> Option<T> {
        loop {
            match self.items.recv().await? {
                Feeding::Item(item) => return Some(item),
                Feeding::Lagged(_) => {}
            }
        }
    }
}

impl<T> futures::Stream for Stream<T> {
    type Item = Feeding<T>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Feeding<T>>> {
        self.items.poll_recv(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_notice_and_an_item_are_told_apart() {
        let lag: Feeding<Vec<u8>> = Feeding::Lagged(3);
        assert_eq!(serde_json::to_string(&lag).unwrap(), r#"{"lagged":3}"#);
        for feeding in [lag, Feeding::Item(vec![1, 2])] {
            let json = serde_json::to_string(&feeding).unwrap();
            assert_eq!(serde_json::from_str::<Feeding<Vec<u8>>>(&json).unwrap(), feeding);
        }
    }
}
