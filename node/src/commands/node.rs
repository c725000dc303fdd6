//! `status`, `id`, `doctor`, `stop`: the node itself.

use peerage_api::node::{Check, Status, Verdict};
use serde_json::json;

use super::Context;
use crate::{
    connect,
    failed::{Exit, Failed},
    output::{self, Table, printable},
};

pub(super) async fn status(context: Context<'_>) -> Result<(), Failed> {
    let status = context.ask(async |node| node.status().await).await?;
    context.out.result(&status, describe)
}

fn describe(status: &Status) -> String {
    let mut table = Table::plain();
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    let json = |value| serde_json::to_value(value).ok();
    let reachability = json(status.reachability).and_then(|v| v.as_str().map(str::to_owned));
    let key = if status.network_key { " (with a network key)" } else { "" };
    row("peer id", status.peer_id.to_string());
    row("network", format!("{}{key}", status.network));
    row("version", printable(&status.version));
    row("up for", output::seconds(status.uptime_s));
    row("peers", format!("{} ({} connections)", status.peers, status.connections));
    row("reachability", reachability.unwrap_or_default());
    row("memory", output::bytes(status.rss_bytes));
    row("transfers", status.transfers_active.to_string());
    row("data", status.data.display().to_string());
    if let Some(kept) = &status.kept_aside {
        row("damaged", format!("{} (began empty; see `peerage doctor`)", kept.display()));
    }
    for (name, addresses) in [("listening", &status.listen), ("external", &status.external)] {
        let mut name = name;
        for address in addresses {
            row(name, address.to_string());
            name = "";
        }
    }
    table.to_string()
}

pub(super) async fn id(context: Context<'_>) -> Result<(), Failed> {
    let identity = context.ask(async |node| node.id().await).await?;
    context.out.result(&identity, |identity| identity.peer_id.to_string())
}

pub(super) async fn doctor(context: Context<'_>) -> Result<(), Failed> {
    let checks = context.ask(async |node| node.doctor().await).await?;
    context.out.result(&checks, |checks| diagnosis(checks))?;
    let failing = checks.iter().filter(|check| check.verdict == Verdict::Fail).count();
    if failing == 0 {
        return Ok(());
    }
    context.out.note(format_args!("{failing} of {} checks fail", checks.len()));
    Err(Failed::Reported(Exit::Failed))
}

fn diagnosis(checks: &[Check]) -> String {
    let mut table = Table::plain();
    for check in checks {
        let verdict = match check.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "FAIL",
        };
        table.row([verdict.to_owned(), check.name.clone(), printable(&check.detail)]);
        if !check.remedy.is_empty() {
            table.row([String::new(), String::new(), format!("→ {}", printable(&check.remedy))]);
        }
    }
    table.to_string()
}

pub(super) async fn stop(context: Context<'_>) -> Result<(), Failed> {
    let data = connect::data_dir(context.global)?;
    let gone = async {
        connect::connect(&data).await?.stop().await?;
        connect::gone(&data).await
    };
    context.within("the daemon has not stopped", gone).await?;
    context.out.result(&json!({ "stopped": true }), |_| "stopped".to_owned())
}
