//! Lists that come in pages.

use peerage_api::users::{MAX_PAGE, Page, Paged};

use crate::failed::Failed;

/// Asks for page after page until there are no more or `limit` items have come; whether there are
/// more.
pub(crate) async fn pages<T>(
    limit: usize,
    mut ask: impl AsyncFnMut(Page) -> Result<Paged<T>, Failed>,
) -> Result<(Vec<T>, bool), Failed> {
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let left = u32::try_from(limit - items.len()).unwrap_or(u32::MAX);
        let page = ask(Page { limit: left.clamp(1, MAX_PAGE), after }).await?;
        // A page without items would be asked for again and again.
        let over = page.next.is_none() || page.items.is_empty();
        items.extend(page.items);
        if over || items.len() >= limit {
            let more = !over || items.len() > limit;
            items.truncate(limit);
            return Ok((items, more));
        }
        after = page.next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers from 0 to `count`, at most 1000 a page.
    async fn numbers(count: usize, limit: usize) -> (Vec<usize>, bool, u32) {
        let mut asked = 0;
        let page = async |page: Page| {
            asked += 1;
            let from: usize = page.after.as_ref().map_or(0, |after| after.parse().unwrap());
            let to = count.min(from + page.limit());
            let next = (to < count).then(|| to.to_string());
            Ok(Paged { items: (from..to).collect(), next })
        };
        let (items, more) = pages(limit, page).await.unwrap();
        (items, more, asked)
    }

    #[tokio::test]
    async fn pages_are_asked_for_until_there_are_no_more_or_enough_came() {
        for (count, limit, more, asked) in [
            (0, 10, false, 1),
            (10, 10, false, 1),
            (11, 10, true, 1),
            (2500, usize::MAX, false, 3),
            (2500, 1500, true, 2),
            (2000, 2000, false, 2),
        ] {
            let found = numbers(count, limit).await;
            assert_eq!(found, ((0..count.min(limit)).collect(), more, asked), "{count} {limit}");
        }
    }
}
